// Decompresses files that are stored in a script.

/**
 * @param {Uint8Array<ArrayBuffer>} bytes gzip
 * @param {string} type of the decompressed file
 * @returns {Promise<Blob>}
 */
export async function unpack(bytes, type) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Blob([await new Response(stream).arrayBuffer()], { type });
}
