// Makes checkpoints in the format of torch.save from a safetensors file. tests/support/torch.rs does the same natively.

import { crc32 } from "node:zlib";

/** @type {Record<string, [string, number]>} the type of a storage, and the bytes of an element */
const STORAGES = { F32: ["FloatStorage", 4], F16: ["HalfStorage", 2], BF16: ["BFloat16Storage", 2] };

/**
 * @param {Buffer} safetensors
 * @returns {Buffer} the same tensors, by name, each in a storage of its own
 */
export function torchCheckpoint(safetensors) {
  const start = 8 + Number(safetensors.readBigUInt64LE(0));
  const { __metadata__, ...header } = JSON.parse(safetensors.toString("utf8", 8, start));
  const names = Object.keys(header).sort();
  const pickle = [Buffer.from("\x80\x02}(", "latin1")];
  for (const [key, name] of names.entries()) {
    const { dtype, shape, data_offsets: [from, to] } = header[name];
    const [storage, width] = /** @type {[string, number]} */ (STORAGES[dtype]);
    const strides = shape.map((/** @type {number} */ _, /** @type {number} */ i) => shape.slice(i + 1).reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1));
    pickle.push(text(name), latin1("ctorch._utils\n_rebuild_tensor_v2\n(("), text("storage"), latin1(`ctorch\n${storage}\n`), text(String(key)));
    pickle.push(text("cpu"), number((to - from) / width), latin1("tQ"), number(0), tuple(shape), tuple(strides));
    pickle.push(latin1("\x89ccollections\nOrderedDict\n)RtR"));
  }
  pickle.push(latin1("u."));
  const archive = new Archive();
  archive.add("archive/data.pkl", Buffer.concat(pickle));
  archive.add("archive/.format_version", latin1("1"));
  archive.add("archive/byteorder", latin1("little"));
  for (const [key, name] of names.entries()) {
    const [from, to] = header[name].data_offsets;
    archive.add(`archive/data/${key}`, safetensors.subarray(start + from, start + to));
  }
  archive.add("archive/version", latin1("3\n"));
  return archive.end();
}

/** A zip archive in the layout of torch's own writer: not compressed, aligned, with sizes after the data. */
class Archive {
  /** @type {Buffer[]} */
  #parts = [];
  /** @type {Buffer[]} */
  #directory = [];
  #length = 0;

  /**
   * @param {string} name
   * @param {Buffer} data
   */
  add(name, data) {
    const padding = -(this.#length + 34 + name.length) & 63;
    const header = Buffer.alloc(34 + name.length + padding, "Z");
    header.fill(0, 0, 30).write("PK\x03\x04\0\0\x08\x08", "latin1");
    header.writeUInt16LE(name.length, 26);
    header.writeUInt16LE(4 + padding, 28);
    header.write(`${name}FB`, 30, "latin1");
    header.writeUInt16LE(padding, 32 + name.length);
    const sizes = Buffer.alloc(12);
    sizes.writeUInt32LE(crc32(data), 0);
    sizes.writeUInt32LE(data.length, 4);
    sizes.writeUInt32LE(data.length, 8);
    const entry = Buffer.alloc(46 + name.length);
    entry.write("PK\x01\x02\0\0\0\0\x08\x08", "latin1");
    sizes.copy(entry, 16);
    entry.writeUInt16LE(name.length, 28);
    entry.writeUInt32LE(this.#length, 42);
    entry.write(name, 46, "latin1");
    this.#directory.push(entry);
    this.#put(header, data, latin1("PK\x07\x08"), sizes);
  }

  end() {
    const end = Buffer.alloc(22);
    end.write("PK\x05\x06", "latin1");
    end.writeUInt16LE(this.#directory.length, 8);
    end.writeUInt16LE(this.#directory.length, 10);
    end.writeUInt32LE(this.#directory.reduce((sum, entry) => sum + entry.length, 0), 12);
    end.writeUInt32LE(this.#length, 16);
    return Buffer.concat([...this.#parts, ...this.#directory, end]);
  }

  /** @param {Buffer[]} parts */
  #put(...parts) {
    for (const part of parts) {
      this.#parts.push(part);
      this.#length += part.length;
    }
  }
}

/** @param {string} value */
function latin1(value) {
  return Buffer.from(value, "latin1");
}

/** @param {string} value */
function text(value) {
  const bytes = Buffer.from(`X\0\0\0\0${value}`);
  bytes.writeUInt32LE(bytes.length - 5, 1);
  return bytes;
}

/** @param {number} value */
function number(value) {
  const bytes = Buffer.from("J\0\0\0\0");
  bytes.writeInt32LE(value, 1);
  return bytes;
}

/** @param {number[]} values */
function tuple(values) {
  return Buffer.concat([latin1("("), ...values.map(number), latin1("t")]);
}
