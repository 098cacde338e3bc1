// What a place to store files in has to offer: types only.

/**
 * @typedef {object} Folder what is kept of one file
 * @property {number} pieceSize bytes of a piece at most; where there is no such bound, it is written anywhere
 * @property {() => Promise<{ name: string, size: number }[]>} list
 * @property {(name: string) => Promise<string | null>} readText `null` where there is none
 * @property {(name: string, text: string) => Promise<void>} writeText
 * @property {(name: string) => Promise<PieceReader>} reader
 * @property {(name: string, size: number) => Promise<PieceWriter>} writer of a piece that has so many bytes
 */

/** @typedef {{ read: (from: number, to: number) => Promise<Uint8Array>, close: () => void }} PieceReader */
/** @typedef {{ write: (bytes: Uint8Array, at: number) => void, close: () => Promise<void> }} PieceWriter */

/**
 * @typedef {object} Backend
 * @property {(id: string) => Promise<Folder>} folder of one file
 * @property {() => Promise<string[]>} ids
 * @property {(id: string) => Promise<void>} remove
 */

export {}; // a module, though it has only types
