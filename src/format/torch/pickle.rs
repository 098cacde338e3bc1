//! The pickle of a torch checkpoint: names, shapes and places of tensors in, and nothing else.
//!
//! A pickle is a program for a stack machine, and Python's own may call anything by its name. This one knows the
//! instructions that `torch.save` writes and the few names that tensors need; whatever goes beyond is refused. What
//! each instruction does is said in CPython's
//! [pickletools](https://github.com/python/cpython/blob/main/Lib/pickletools.py), and what torch has it build in its
//! [serialization](https://github.com/pytorch/pytorch/blob/main/torch/serialization.py).

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use safetensors::Dtype;

use crate::error::{Error, ErrorKind, Result};
use crate::format::torch::damaged;
use crate::limits::{Limit, Limits};

/// No tensor of a CLIP model has more than four.
const MOST_DIMENSIONS: usize = 16;
/// Longer than any name that is known.
const MOST_NAME_BYTES: usize = 1024;

/// A pickle that is being read, as far as its bytes have come.
pub struct Machine {
    limits: Limits,
    /// Where the next instruction begins, in bytes from the start of the pickle.
    position: usize,
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
    /// The items of all tuples.
    items: Vec<Value>,
    dicts: Vec<Vec<(Value, Value)>>,
    tensors: Vec<Tensor>,
    storages: BTreeMap<u32, Storage>,
    /// Values that were made so far.
    values: u64,
}

/// What a pickle says.
#[derive(Debug, PartialEq)]
pub struct Contents {
    /// By their names.
    pub tensors: HashMap<String, Tensor>,
    /// By their keys, which are numbers.
    pub storages: BTreeMap<u32, Storage>,
    /// What the pickle holds, in bytes.
    pub size: usize,
}

/// Values of one type, one after another, of which tensors are parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    pub dtype: Dtype,
    /// What it holds, in bytes.
    pub size: u64,
}

/// A part of a storage.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The key of its storage.
    pub storage: u32,
    pub dtype: Dtype,
    /// Outermost first.
    pub shape: Vec<usize>,
    /// Whether its values stand in the order of rows, without gaps.
    pub row_major: bool,
    /// Within its storage; only its start counts where it is not row-major.
    pub bytes: Range<u64>,
}

/// Small, so that it can be copied: what it has lies in the machine, or in the pickle's bytes. So nothing is nested
/// in memory, however deep a pickle nests it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Mark,
    /// None, floats, lists: what no tensor's description needs.
    Other,
    Bool,
    Int(i64),
    /// A place in the pickle's bytes.
    Text(usize, usize),
    /// A place among the items.
    Tuple(usize, usize),
    Dict(usize),
    Global(Global),
    Storage(u32),
    Tensor(usize),
}

/// Everything that a pickle may name.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

impl Global {
    fn named(module: &[u8], name: &[u8]) -> Result<Self> {
        Ok(match (module, name) {
            (b"collections", b"OrderedDict") => Self::OrderedDict,
            (b"torch._utils", b"_rebuild_tensor_v2") => Self::RebuildTensor,
            (b"torch._utils", b"_rebuild_parameter") => Self::RebuildParameter,
            (b"torch", b"FloatStorage") => Self::Storage(Dtype::F32),
            (b"torch", b"HalfStorage") => Self::Storage(Dtype::F16),
            (b"torch", b"BFloat16Storage") => Self::Storage(Dtype::BF16),
            (b"torch", b"DoubleStorage") => Self::Storage(Dtype::F64),
            (b"torch", b"LongStorage") => Self::Storage(Dtype::I64),
            (b"torch", b"IntStorage") => Self::Storage(Dtype::I32),
            (b"torch", b"ShortStorage") => Self::Storage(Dtype::I16),
            (b"torch", b"CharStorage") => Self::Storage(Dtype::I8),
            (b"torch", b"ByteStorage") => Self::Storage(Dtype::U8),
            (b"torch", b"BoolStorage") => Self::Storage(Dtype::BOOL),
            _ => return Err(refused(module, name)),
        })
    }
}

/// How many characters of a stranger's name an error repeats.
const SHOWN: usize = 100;

fn refused(module: &[u8], name: &[u8]) -> Error {
    if module.starts_with(b"__torch__") {
        return super::torch_script();
    }
    let full = [module, b".", name].concat();
    more_than_tensors(&shown(&full))
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(SHOWN).collect()
}

fn more_than_tensors(what: &str) -> Error {
    let message = format!(
        "this checkpoint's pickle holds {what}, which is more than tensors and is not run; save its state_dict() alone, or save it as safetensors"
    );
    Error::new(ErrorKind::UnsupportedModel, message)
}

/// Reads operands; `None` where they have not come.
struct Operands<'a> {
    pickle: &'a [u8],
    position: usize,
}

impl<'a> Operands<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.position.checked_add(count)?;
        let bytes = self.pickle.get(self.position..end)?;
        self.position = end;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// To the end of the line, which is passed; of a line that is longer than any name that is known, its beginning.
    fn line(&mut self) -> Option<&'a [u8]> {
        let rest = self.pickle.get(self.position..)?;
        let near = &rest[..rest.len().min(MOST_NAME_BYTES)];
        let length = match near.iter().position(|byte| *byte == b'\n') {
            None if near.len() == MOST_NAME_BYTES => near.len() - 1,
            found => found?,
        };
        self.position += length + 1;
        Some(&near[..length])
    }

    fn text(&mut self, length: usize) -> Option<Value> {
        let start = self.position;
        self.take(length)?;
        Some(Value::Text(start, self.position))
    }
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

    /// Goes on with the pickle's bytes, those that it was given before among them: `None` where it needs more.
    ///
    /// # Errors
    /// `unsupported_model` where it holds more than tensors; `malformed_model`; `limit_exceeded`.
    pub fn run(&mut self, pickle: &[u8]) -> Result<Option<Contents>> {
        loop {
            let mut operands = Operands { pickle, position: self.position };
            let Some(done) = self.step(&mut operands)? else {
                // An instruction whose operands would end behind the limit never becomes whole.
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

    /// Does one instruction; `None`, and nothing is done, where its bytes have not all come. Tells whether it was
    /// the last.
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
            (0x80, _) => return Err(damaged("its pickle is of an unknown protocol")),
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
            // APPEND, APPENDS: what a list holds is not looked at
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
            // BUILD: the attributes of an OrderedDict, which torch has none of a tensor in
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

    /// Where the last mark stands on the stack.
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

    /// Makes one of what stands on the stack from `at` on.
    fn tuple(&mut self, at: usize) -> Result<()> {
        let start = self.items.len();
        self.items.extend(self.stack.drain(at..));
        let items = &self.items[start..];
        if items.contains(&Value::Mark) {
            return Err(contradiction());
        }
        self.push(Value::Tuple(start, self.items.len()))
    }

    /// Puts the pairs from `at` on into the dict before `end`, where the stack then ends.
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

    /// What a persistent id stands for: `("storage", type, key, device, elements)`.
    fn storage(&mut self, pickle: &[u8], id: Value) -> Result<Value> {
        let &[word, Value::Global(Global::Storage(dtype)), key, _, Value::Int(elements), ..] =
            self.items(id)?
        else {
            return Err(contradiction());
        };
        let key = text(pickle, key);
        let number = std::str::from_utf8(key).ok().and_then(|key| key.parse::<u32>().ok());
        let number = number.filter(|number| number.to_string().as_bytes() == key);
        if text(pickle, word) != b"storage" {
            return Err(contradiction());
        }
        let Some(number) = number else {
            return Err(super::unknown_layout(format!("a storage is called {:?}", shown(key))));
        };
        let size = u64::try_from(elements).ok().and_then(|n| n.checked_mul(width(dtype)));
        let storage = Storage { dtype, size: size.ok_or_else(contradiction)? };
        if *self.storages.entry(number).or_insert(storage) != storage {
            return Err(contradiction());
        }
        Ok(Value::Storage(number))
    }

    fn call(&mut self, function: Value, arguments: Value) -> Result<Value> {
        let Value::Global(function) = function else { return Err(contradiction()) };
        let arguments = self.items(arguments)?;
        match function {
            Global::OrderedDict if arguments.is_empty() => Ok(self.dict()),
            Global::OrderedDict => Err(more_than_tensors("an OrderedDict of a list")),
            Global::RebuildParameter => match arguments.first() {
                Some(tensor @ Value::Tensor(_)) => Ok(*tensor),
                _ => Err(contradiction()),
            },
            Global::RebuildTensor => {
                let tensor = self.tensor(arguments)?;
                self.limits.check(Limit::Tensors, self.tensors.len() as u64 + 1)?;
                self.tensors.push(tensor);
                Ok(Value::Tensor(self.tensors.len() - 1))
            }
            Global::Storage(_) => Err(more_than_tensors("a call of a storage's type")),
        }
    }

    /// Of `(storage, offset, shape, strides, …)`, all in elements.
    fn tensor(&self, arguments: &[Value]) -> Result<Tensor> {
        let &[Value::Storage(storage), Value::Int(offset), shape, strides, ..] = arguments else {
            return Err(contradiction());
        };
        let Storage { dtype, size } = self.storages[&storage];
        let (shape, strides) = (self.numbers(shape)?, self.numbers(strides)?);
        if shape.len() != strides.len() || shape.len() > MOST_DIMENSIONS {
            return Err(contradiction());
        }
        let mut elements = 1_u64;
        let mut row_major = true;
        for (length, stride) in shape.iter().zip(&strides).rev() {
            // The stride of a dimension of one element is never used, and torch leaves any there.
            row_major &= *length == 1 || *stride == elements;
            elements = elements.checked_mul(*length).ok_or_else(contradiction)?;
        }
        let in_bytes = |n: u64| n.checked_mul(width(dtype));
        let start = u64::try_from(offset).ok().and_then(in_bytes).ok_or_else(contradiction)?;
        let length = if row_major { in_bytes(elements) } else { Some(0) };
        let end = length.and_then(|length| start.checked_add(length)).ok_or_else(contradiction)?;
        if end > size {
            return Err(damaged("a tensor goes beyond its storage"));
        }
        let lengths = shape.into_iter().map(usize::try_from).collect::<Result<_, _>>();
        let shape = lengths.map_err(|_| contradiction())?;
        Ok(Tensor { storage, dtype, shape, row_major, bytes: start..end })
    }

    fn numbers(&self, tuple: Value) -> Result<Vec<u64>> {
        let number = |value: &Value| match value {
            Value::Int(number) => u64::try_from(*number).map_err(|_| contradiction()),
            _ => Err(contradiction()),
        };
        self.items(tuple)?.iter().map(number).collect()
    }

    /// The tensors of what is left on the stack: of a state dict, or of a training's checkpoint that has one.
    fn finish(&mut self, pickle: &[u8]) -> Result<Contents> {
        let [Value::Dict(top)] = self.stack[..] else {
            return Err(more_than_tensors("something other than a dict of tensors"));
        };
        let named =
            |dict: usize| self.dicts[dict].iter().map(|(key, value)| (text(pickle, *key), *value));
        let state = named(top).rfind(|(key, _)| *key == b"state_dict");
        let dict = match state {
            Some((_, Value::Dict(dict))) => dict,
            _ => top,
        };
        let mut tensors = HashMap::new();
        for (name, value) in named(dict) {
            // Of one name the last counts, as in Python.
            let name = std::str::from_utf8(name).map_err(|_| damaged("a name is no text"))?;
            match value {
                Value::Tensor(tensor) => tensors.insert(name, &self.tensors[tensor]),
                _ => tensors.remove(name),
            };
        }
        if tensors.is_empty() {
            let keys: Vec<_> = named(dict).take(5).map(|(key, _)| shown(key)).collect();
            let message = format!(
                "this checkpoint has no tensors by name, neither in itself nor in a state_dict; it has {keys:?}: save its state_dict() alone"
            );
            return Err(Error::new(ErrorKind::UnsupportedModel, message));
        }
        // What trains on several devices puts this before every name; open_clip removes it in the same way.
        let wrapped = tensors.keys().all(|name| name.starts_with(WRAPPER));
        let plain = |name: &str| name[if wrapped { WRAPPER.len() } else { 0 }..].to_owned();
        let tensors = tensors.into_iter().map(|(name, tensor)| (plain(name), tensor.clone()));
        Ok(Contents {
            tensors: tensors.collect(),
            storages: std::mem::take(&mut self.storages),
            size: self.position,
        })
    }
}

/// What torch's `DistributedDataParallel` calls the model in it.
const WRAPPER: &str = "module.";

/// What stands behind an instruction.
enum Operand<'a> {
    None,
    Number(i64),
    Long(&'a [u8]),
    Value(Value),
    Names(&'a [u8], &'a [u8]),
}

/// A text's bytes; none of anything else.
fn text(pickle: &[u8], value: Value) -> &[u8] {
    match value {
        Value::Text(start, end) => &pickle[start..end],
        _ => b"",
    }
}

/// A number of up to 255 bytes, little-endian, two's complement.
fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Other;
    }
    let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let mut whole = [sign; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(whole))
}

/// The bytes of an element, of the types that [`Global::named`] knows.
fn width(dtype: Dtype) -> u64 {
    match dtype {
        Dtype::F64 | Dtype::I64 => 8,
        Dtype::F32 | Dtype::I32 => 4,
        Dtype::F16 | Dtype::BF16 | Dtype::I16 => 2,
        _ => 1,
    }
}

fn contradiction() -> Error {
    damaged("its pickle contradicts itself")
}
