//! Writes checkpoints like `torch.save`, without torch: `tests/reference/checkpoints.py` shows what they
//! look like.

use safetensors::{Dtype, SafeTensors};

/// A tensor, and where its values are.
#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
    /// Index of its storage.
    pub storage: usize,
    /// Start within the storage, in elements.
    pub offset: usize,
}

#[derive(Clone)]
pub struct Storage {
    pub dtype: Dtype,
    pub bytes: Vec<u8>,
}

/// A checkpoint before it is written, so that anything in it can be changed.
#[derive(Clone)]
pub struct Checkpoint {
    pub archive: &'static str,
    pub tensors: Vec<Tensor>,
    pub storages: Vec<Storage>,
    /// As torch does since 2.7: storages sorted by number, and an entry that says so.
    pub by_number: bool,
    pub byteorder: Option<&'static str>,
    pub alignment: u64,
    /// Pickle code before and after the dict of tensors.
    pub around: (Vec<u8>, Vec<u8>),
    /// Prefix of every name.
    pub prefix: &'static str,
    /// Whether the first entry claims to be compressed.
    pub compressed: bool,
}

impl Checkpoint {
    pub fn new() -> Self {
        Self {
            archive: "archive",
            tensors: Vec::new(),
            storages: Vec::new(),
            by_number: true,
            byteorder: Some("little"),
            alignment: 64,
            around: (Vec::new(), Vec::new()),
            prefix: "",
            compressed: false,
        }
    }

    /// The tensors of a safetensors file, sorted by name, each in its own storage.
    pub fn of(file: &[u8]) -> Self {
        let mut checkpoint = Self::new();
        let mut tensors = SafeTensors::deserialize(file).unwrap().tensors();
        tensors.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (name, view) in tensors {
            checkpoint.add(&name, view.dtype(), view.shape(), view.data());
        }
        checkpoint
    }

    pub fn add(&mut self, name: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]) {
        self.storages.push(Storage { dtype, bytes: bytes.to_vec() });
        self.tensors.push(Tensor {
            name: name.into(),
            shape: shape.to_vec(),
            strides: row_major(shape),
            storage: self.storages.len() - 1,
            offset: 0,
        });
    }

    /// Puts all tensors, of one type, into one storage.
    pub fn in_one_storage(mut self) -> Self {
        let mut one = Storage { dtype: self.storages[0].dtype, bytes: Vec::new() };
        for tensor in &mut self.tensors {
            let storage = &self.storages[tensor.storage];
            assert_eq!(storage.dtype, one.dtype);
            tensor.offset = one.bytes.len() / width(one.dtype);
            tensor.storage = 0;
            one.bytes.extend(&storage.bytes);
        }
        self.storages = vec![one];
        self
    }

    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
    }

    pub fn pickle(&self) -> Vec<u8> {
        let mut pickle = b"\x80\x02".to_vec();
        pickle.extend(&self.around.0);
        pickle.extend(b"}q\x00(");
        for tensor in &self.tensors {
            let storage = &self.storages[tensor.storage];
            text(&mut pickle, &format!("{}{}", self.prefix, tensor.name));
            pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
            text(&mut pickle, "storage");
            pickle.extend(format!("ctorch\n{}\n", class(storage.dtype)).bytes());
            text(&mut pickle, &tensor.storage.to_string());
            text(&mut pickle, "cuda:0");
            number(&mut pickle, storage.bytes.len() / width(storage.dtype));
            pickle.extend(b"tQ");
            number(&mut pickle, tensor.offset);
            for numbers in [&tensor.shape, &tensor.strides] {
                pickle.push(b'(');
                numbers.iter().for_each(|n| number(&mut pickle, *n));
                pickle.push(b't');
            }
            pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        }
        pickle.push(b'u');
        pickle.extend(&self.around.1);
        pickle.push(b'.');
        pickle
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.bytes_with(&self.pickle())
    }

    pub fn bytes_with(&self, pickle: &[u8]) -> Vec<u8> {
        let mut zip = Zip::new(self.alignment);
        let archive = self.archive;
        let method = if self.compressed { 8 } else { 0 };
        zip.add(&format!("{archive}/data.pkl"), pickle, method);
        if self.by_number {
            zip.add(&format!("{archive}/.format_version"), b"1", 0);
            let alignment = self.alignment.to_string();
            zip.add(&format!("{archive}/.storage_alignment"), alignment.as_bytes(), 0);
        }
        if let Some(order) = self.byteorder {
            zip.add(&format!("{archive}/byteorder"), order.as_bytes(), 0);
        }
        let mut order: Vec<usize> = (0..self.storages.len()).collect();
        if !self.by_number {
            order.sort_by_key(usize::to_string);
        }
        for key in order {
            zip.add(&format!("{archive}/data/{key}"), &self.storages[key].bytes, 0);
        }
        zip.add(&format!("{archive}/version"), b"3\n", 0);
        zip.finish()
    }
}

/// An archive with the layout that torch's own writer uses.
pub struct Zip {
    alignment: u64,
    bytes: Vec<u8>,
    directory: Vec<u8>,
    entries: u16,
}

impl Zip {
    pub fn new(alignment: u64) -> Self {
        Self { alignment, bytes: Vec::new(), directory: Vec::new(), entries: 0 }
    }

    pub fn add(&mut self, name: &str, data: &[u8], method: u16) {
        let at = self.bytes.len();
        let flags: u16 = if data.is_empty() { 0x800 } else { 0x808 };
        let least = at + 30 + name.len() + 4;
        let padding = least.next_multiple_of(self.alignment.max(1) as usize) - least;
        let short = |n: usize| (n as u16).to_le_bytes();
        let long = |n: usize| (n as u32).to_le_bytes();
        self.bytes.extend(b"PK\x03\x04\0\0");
        self.bytes.extend(flags.to_le_bytes());
        self.bytes.extend(method.to_le_bytes());
        self.bytes.extend([0; 16]);
        self.bytes.extend([short(name.len()), short(padding + 4)].concat());
        self.bytes.extend(name.bytes());
        self.bytes.extend(b"FB");
        self.bytes.extend(short(padding));
        self.bytes.extend(vec![b'Z'; padding]);
        self.bytes.extend(data);
        let sizes = [long(data.len()), long(data.len())].concat();
        let checksum = crc32fast::hash(data).to_le_bytes();
        if !data.is_empty() {
            self.bytes.extend([b"PK\x07\x08", &checksum[..], &sizes].concat());
        }
        self.directory.extend(b"PK\x01\x02\0\0\0\0");
        self.directory.extend(flags.to_le_bytes());
        self.directory.extend(method.to_le_bytes());
        self.directory.extend([&[0; 4], &checksum[..], &sizes, &short(name.len())].concat());
        self.directory.extend([0; 12]);
        self.directory.extend(long(at));
        self.directory.extend(name.bytes());
        self.entries += 1;
    }

    pub fn finish(mut self) -> Vec<u8> {
        let at = self.bytes.len() as u32;
        let entries = self.entries.to_le_bytes();
        self.bytes.extend(&self.directory);
        self.bytes.extend(b"PK\x05\x06\0\0\0\0");
        self.bytes.extend([entries, entries].concat());
        self.bytes.extend((self.directory.len() as u32).to_le_bytes());
        self.bytes.extend(at.to_le_bytes());
        self.bytes.extend([0; 2]);
        self.bytes
    }
}

pub fn text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.bytes());
}

fn number(pickle: &mut Vec<u8>, number: usize) {
    pickle.push(b'J');
    pickle.extend((number as i32).to_le_bytes());
}

pub fn row_major(shape: &[usize]) -> Vec<usize> {
    let after = |place: usize| shape[place + 1..].iter().product();
    (0..shape.len()).map(after).collect()
}

fn class(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "FloatStorage",
        Dtype::F16 => "HalfStorage",
        Dtype::BF16 => "BFloat16Storage",
        Dtype::F64 => "DoubleStorage",
        Dtype::I64 => "LongStorage",
        Dtype::I32 => "IntStorage",
        other => panic!("{other}"),
    }
}

fn width(dtype: Dtype) -> usize {
    match dtype {
        Dtype::F64 | Dtype::I64 => 8,
        Dtype::F32 | Dtype::I32 => 4,
        _ => 2,
    }
}
