//! What a pickle's calls create: storages, tensors, and the dict of tensors.

use std::collections::HashMap;

use super::names::{Global, more_than_tensors, shown, width};
use super::{Contents, Machine, Storage, Tensor, Value, contradiction, text};
use crate::error::{Error, ErrorKind, Result};
use crate::format::torch::{damaged, unknown_layout};
use crate::limits::Limit;

/// No tensor of a CLIP model has more than four.
const MOST_DIMENSIONS: usize = 16;
/// The prefix that torch's `DistributedDataParallel` gives to the names of the model it wraps.
const WRAPPER: &str = "module.";

impl Machine {
    /// The storage that a persistent id refers to: `("storage", type, key, device, elements)`.
    pub(super) fn storage(&mut self, pickle: &[u8], id: Value) -> Result<Value> {
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
            return Err(unknown_layout(format!("a storage is called {:?}", shown(key))));
        };
        let size = u64::try_from(elements).ok().and_then(|n| n.checked_mul(width(dtype)));
        let storage = Storage { dtype, size: size.ok_or_else(contradiction)? };
        if *self.storages.entry(number).or_insert(storage) != storage {
            return Err(contradiction());
        }
        Ok(Value::Storage(number))
    }

    pub(super) fn call(&mut self, function: Value, arguments: Value) -> Result<Value> {
        let Value::Global(function) = function else { return Err(contradiction()) };
        let arguments = self.items(arguments)?;
        match function {
            Global::OrderedDict if arguments.is_empty() => Ok(self.dict()),
            Global::OrderedDict => Err(more_than_tensors("an OrderedDict made from a list")),
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

    /// A tensor from `(storage, offset, shape, strides, …)`, all counted in elements.
    pub(super) fn tensor(&self, arguments: &[Value]) -> Result<Tensor> {
        let &[Value::Storage(storage), Value::Int(offset), shape, strides, ref rest @ ..] =
            arguments
        else {
            return Err(contradiction());
        };
        // After two more arguments, torch states whether the values are negated or conjugated. `Other` is
        // None.
        let is_plain = match rest.get(2) {
            None | Some(Value::Other) => true,
            Some(Value::Dict(metadata)) => self.dicts[*metadata].is_empty(),
            Some(_) => false,
        };
        if !is_plain {
            return Err(more_than_tensors("a tensor with metadata, such as a negated view"));
        }
        let Storage { dtype, size } = self.storages[&storage];
        let (shape, strides) = (self.numbers(shape)?, self.numbers(strides)?);
        if shape.len() != strides.len() || shape.len() > MOST_DIMENSIONS {
            return Err(contradiction());
        }
        let mut elements = 1_u64;
        let mut row_major = true;
        for (length, stride) in shape.iter().zip(&strides).rev() {
            // The stride of a dimension of size one is never used, and torch may store any value there.
            row_major &= *length == 1 || *stride == elements;
            elements = elements.checked_mul(*length).ok_or_else(contradiction)?;
        }
        let in_bytes = |n: u64| n.checked_mul(width(dtype));
        let start = u64::try_from(offset).ok().and_then(in_bytes).ok_or_else(contradiction)?;
        let length = if row_major { in_bytes(elements) } else { Some(0) };
        let end = length.and_then(|length| start.checked_add(length)).ok_or_else(contradiction)?;
        if end > size {
            return Err(damaged("a tensor extends beyond its storage"));
        }
        let lengths = shape.into_iter().map(usize::try_from).collect::<Result<_, _>>();
        let shape = lengths.map_err(|_| contradiction())?;
        Ok(Tensor { storage, dtype, shape, row_major, bytes: start..end })
    }

    pub(super) fn numbers(&self, tuple: Value) -> Result<Vec<u64>> {
        let number = |value: &Value| match value {
            Value::Int(number) => u64::try_from(*number).map_err(|_| contradiction()),
            _ => Err(contradiction()),
        };
        self.items(tuple)?.iter().map(number).collect()
    }

    /// The tensors of the value left on the stack: of a state dict, or of a training checkpoint that
    /// contains one.
    pub(super) fn finish(&mut self, pickle: &[u8]) -> Result<Contents> {
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
            // If a name occurs several times, the last one counts, as in Python.
            let name = std::str::from_utf8(name).map_err(|_| damaged("a name is not text"))?;
            match value {
                Value::Tensor(tensor) => tensors.insert(name, &self.tensors[tensor]),
                _ => tensors.remove(name),
            };
        }
        if tensors.is_empty() {
            let keys: Vec<_> = named(dict).take(5).map(|(key, _)| shown(key)).collect();
            let message = format!(
                "this checkpoint has no tensors with names, neither at the top level nor in a state_dict; it has {keys:?}: save only its state_dict()"
            );
            return Err(Error::new(ErrorKind::UnsupportedModel, message));
        }
        // Training on several devices puts this prefix before every name; open_clip removes it in the same
        // way.
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
