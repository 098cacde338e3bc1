// Bytes that were compressed to be carried in a script.

/**
 * @param {Uint8Array<ArrayBuffer>} bytes gzip
 * @param {string} type of what is in them
 * @returns {Promise<Blob>}
 */
export async function unpack(bytes, type) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Blob([await new Response(stream).arrayBuffer()], { type });
}
