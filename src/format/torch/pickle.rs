//! Reads the pickle of a torch checkpoint: the names, shapes and positions of tensors, and nothing else.
//!
//! A pickle is a program for a stack machine, and Python's own machine may call any function by name. This
//! machine only supports the instructions that `torch.save` writes and the few names that tensors need; it
//! refuses everything else. The instructions are documented in CPython's
//! [pickletools](https://github.com/python/cpython/blob/main/Lib/pickletools.py), and torch's use of them
//! in its [serialization](https://github.com/pytorch/pytorch/blob/main/torch/serialization.py).

mod build;
mod names;
mod operands;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use safetensors::Dtype;

use names::{Global, more_than_tensors};
use operands::{Operands, long};

use crate::error::{Error, Result};
use crate::format::torch::damaged;
use crate::limits::{Limit, Limits};

/// A pickle that is being read while its bytes arrive.
pub struct Machine {
    limits: Limits,
    /// Where the next instruction starts, in bytes from the start of the pickle.
    position: usize,
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
    /// The items of all tuples.
    items: Vec<Value>,
    dicts: Vec<Vec<(Value, Value)>>,
    tensors: Vec<Tensor>,
    storages: BTreeMap<u32, Storage>,
    /// Number of values created so far.
    values: u64,
}

/// What a pickle describes.
#[derive(Debug, PartialEq)]
pub struct Contents {
    /// Tensors by name.
    pub tensors: HashMap<String, Tensor>,
    /// Storages by key, which is a number.
    pub storages: BTreeMap<u32, Storage>,
    /// Size of the pickle in bytes.
    pub size: usize,
}

/// Values of one type in a row; tensors are parts of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    pub dtype: Dtype,
    /// Size in bytes.
    pub size: u64,
}

/// A part of a storage.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The key of its storage.
    pub storage: u32,
    pub dtype: Dtype,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// Whether its values are in row-major order, without gaps.
    pub row_major: bool,
    /// Its position within the storage; if it is not row-major, only the start is valid.
    pub bytes: Range<u64>,
}

/// Small, so that it can be copied: the contents are stored in the machine or in the pickle's bytes. So
/// nothing is nested in memory, however deeply a pickle nests it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Mark,
    /// None, floats and lists, which describe no tensor.
    Other,
    Bool,
    Int(i64),
    /// A range of the pickle's bytes.
    Text(usize, usize),
    /// A range of the items.
    Tuple(usize, usize),
    Dict(usize),
    Global(Global),
    Storage(u32),
    Tensor(usize),
}

impl Machine {
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            position: 0,
            stack: Vec::new(),
            memo: HashMap::new(),
            items: Vec::new(),
            dicts: Vec::new(),
            tensors: Vec::new(),
            storages: BTreeMap::new(),
            values: 0,
        }
    }

    /// Continues with all of the pickle's bytes that have arrived so far: `None` if it needs more.
    ///
    /// # Errors
    /// `unsupported_model` if it holds more than tensors; `malformed_model`; `limit_exceeded`.
    pub fn run(&mut self, pickle: &[u8]) -> Result<Option<Contents>> {
        loop {
            let mut operands = Operands { pickle, position: self.position };
            let Some(done) = self.step(&mut operands)? else {
                // An instruction whose operands end beyond the limit never becomes complete.
                self.limits.check(Limit::HeaderBytes, pickle.len() as u64)?;
                return Ok(None);
            };
            self.position = operands.position;
            self.limits.check(Limit::HeaderBytes, self.position as u64)?;
            if done {
                return self.finish(pickle).map(Some);
            }
        }
    }

    /// Runs one instruction and returns whether it was the last. If not all of its bytes have arrived,
    /// returns `None` and changes nothing.
    fn step(&mut self, operands: &mut Operands) -> Result<Option<bool>> {
        let pickle = operands.pickle;
        let read = || -> Option<(u8, Operand)> {
            let opcode = operands.byte()?;
            let operand = match opcode {
                0x80 => Operand::Number(operands.byte()?.into()), // PROTO
                0x95 => operands.array().map(u64::from_le_bytes).map(|_| Operand::None)?, // FRAME
                b'K' | b'q' | b'h' => Operand::Number(operands.byte()?.into()), // BININT1, BINPUT, BINGET
                b'M' => Operand::Number(operands.array().map(u16::from_le_bytes)?.into()), // BININT2
                b'J' => Operand::Number(operands.array().map(i32::from_le_bytes)?.into()), // BININT
                b'r' | b'j' => Operand::Number(operands.u32()?.into()), // LONG_BINPUT, LONG_BINGET
                0x8a => {
                    let length = operands.byte()?;
                    Operand::Long(operands.take(length.into())?) // LONG1
                }
                b'G' => operands.array::<8>().map(|_| Operand::None)?, // BINFLOAT
                b'X' => {
                    let length = operands.u32()?;
                    Operand::Value(operands.text(length as usize)?) // BINUNICODE
                }
                0x8c => {
                    let length = operands.byte()?;
                    Operand::Value(operands.text(length.into())?) // SHORT_BINUNICODE
                }
                b'c' => {
                    let module = operands.line()?;
                    Operand::Names(module, operands.line()?) // GLOBAL
                }
                _ => Operand::None,
            };
            Some((opcode, operand))
        };
        let Some((opcode, operand)) = { read }() else { return Ok(None) };
        match (opcode, operand) {
            (0x80, Operand::Number(2..=5)) | (0x95, _) => {}
            (0x80, _) => return Err(damaged("its pickle has an unknown protocol")),
            (b'K' | b'M' | b'J', Operand::Number(number)) => self.push(Value::Int(number))?,
            (0x8a, Operand::Long(bytes)) => {
                let number = long(bytes);
                self.push(number)?;
            }
            (b'X' | 0x8c, Operand::Value(text)) => self.push(text)?,
            (b'c', Operand::Names(module, name)) => {
                self.push(Value::Global(Global::named(module, name)?))?;
            }
            // STACK_GLOBAL
            (0x93, _) => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(..), Value::Text(..)) = (name, module) else {
                    return Err(contradiction());
                };
                let global = Global::named(text(pickle, module), text(pickle, name))?;
                self.push(Value::Global(global))?;
            }
            // BINPUT, LONG_BINPUT
            (b'q' | b'r', Operand::Number(place)) => self.remember(place as u32)?,
            // MEMOIZE
            (0x94, _) => self.remember(self.memo.len() as u32)?,
            // BINGET, LONG_BINGET
            (b'h' | b'j', Operand::Number(place)) => {
                let value = self.memo.get(&(place as u32)).copied();
                self.push(value.ok_or_else(contradiction)?)?;
            }
            (b'(', _) => self.push(Value::Mark)?,
            (b'N' | b'G' | b']', _) => self.push(Value::Other)?, // NONE, BINFLOAT, EMPTY_LIST
            (0x88 | 0x89, _) => self.push(Value::Bool)?,         // NEWTRUE, NEWFALSE
            // EMPTY_DICT
            (b'}', _) => {
                let dict = self.dict();
                self.push(dict)?;
            }
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
            (b')', _) => self.tuple(self.stack.len())?,
            (0x85..=0x87, _) => {
                let length = usize::from(opcode - 0x84);
                self.tuple(self.stack.len().checked_sub(length).ok_or_else(contradiction)?)?;
            }
            (b't', _) => {
                let mark = self.mark()?;
                self.stack.remove(mark);
                self.tuple(mark)?;
            }
            // APPEND, APPENDS: the items of a list are not read
            (b'a', _) => {
                self.pop()?;
                self.expect_last(Value::Other)?;
            }
            (b'e', _) => {
                let mark = self.mark()?;
                self.stack.truncate(mark);
                self.expect_last(Value::Other)?;
            }
            // SETITEM, SETITEMS
            (b's', _) => {
                let at = self.stack.len().checked_sub(2).ok_or_else(contradiction)?;
                self.set_items(at, at)?;
            }
            (b'u', _) => {
                let mark = self.mark()?;
                self.set_items(mark + 1, mark)?;
            }
            // BUILD: the attributes of an OrderedDict; torch stores no tensors there
            (b'b', _) => {
                self.pop()?;
                match self.stack.last() {
                    Some(Value::Dict(_)) => {}
                    _ => return Err(more_than_tensors("an object with a state of its own")),
                }
            }
            // BINPERSID
            (b'Q', _) => {
                let id = self.pop()?;
                let storage = self.storage(pickle, id)?;
                self.push(storage)?;
            }
            // REDUCE
            (b'R', _) => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let value = self.call(function, arguments)?;
                self.push(value)?;
            }
            (b'.', _) => return Ok(Some(true)), // STOP
            _ => return Err(more_than_tensors(&format!("the instruction {opcode:#04x}"))),
        }
        Ok(Some(false))
    }

    fn push(&mut self, value: Value) -> Result<()> {
        self.values += 1;
        self.limits.check(Limit::MetadataValues, self.values)?;
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value> {
        match self.stack.pop() {
            None | Some(Value::Mark) => Err(contradiction()),
            Some(value) => Ok(value),
        }
    }

    fn expect_last(&self, value: Value) -> Result<()> {
        if self.stack.last() == Some(&value) { Ok(()) } else { Err(contradiction()) }
    }

    /// Position of the last mark on the stack.
    fn mark(&self) -> Result<usize> {
        self.stack.iter().rposition(|value| *value == Value::Mark).ok_or_else(contradiction)
    }

    fn remember(&mut self, place: u32) -> Result<()> {
        let value = *self.stack.last().ok_or_else(contradiction)?;
        self.values += 1;
        self.limits.check(Limit::MetadataValues, self.values)?;
        self.memo.insert(place, value);
        Ok(())
    }

    fn dict(&mut self) -> Value {
        self.dicts.push(Vec::new());
        Value::Dict(self.dicts.len() - 1)
    }

    /// Makes a tuple of the values on the stack from `at` on.
    fn tuple(&mut self, at: usize) -> Result<()> {
        let start = self.items.len();
        self.items.extend(self.stack.drain(at..));
        let items = &self.items[start..];
        if items.contains(&Value::Mark) {
            return Err(contradiction());
        }
        self.push(Value::Tuple(start, self.items.len()))
    }

    /// Puts the pairs from `at` on into the dict before `end`, and cuts the stack at `end`.
    fn set_items(&mut self, at: usize, end: usize) -> Result<()> {
        let before = end.checked_sub(1).and_then(|place| self.stack.get(place));
        let Some(&Value::Dict(dict)) = before else { return Err(contradiction()) };
        let (pairs, rest) = self.stack[at..].as_chunks::<2>();
        if !rest.is_empty() || self.stack[at..].contains(&Value::Mark) {
            return Err(contradiction());
        }
        self.dicts[dict].extend(pairs.iter().map(|[key, value]| (*key, *value)));
        self.stack.truncate(end);
        Ok(())
    }

    fn items(&self, value: Value) -> Result<&[Value]> {
        match value {
            Value::Tuple(start, end) => Ok(&self.items[start..end]),
            _ => Err(contradiction()),
        }
    }
}

/// The operand of an instruction.
enum Operand<'a> {
    None,
    Number(i64),
    Long(&'a [u8]),
    Value(Value),
    Names(&'a [u8], &'a [u8]),
}

/// The bytes of a text; empty for any other value.
fn text(pickle: &[u8], value: Value) -> &[u8] {
    match value {
        Value::Text(start, end) => &pickle[start..end],
        _ => b"",
    }
}

fn contradiction() -> Error {
    damaged("its pickle contradicts itself")
}
