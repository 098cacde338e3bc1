// The modules that packaging/single.mjs makes.

declare module "packed:*" {
  /** A file, compressed. */
  const bytes: Uint8Array<ArrayBuffer>;
  export default bytes;
}

declare module "single:files" {
  const files: { path: string; type: string; bytes: Uint8Array<ArrayBuffer> }[];
  export default files;
}

declare module "single:model" {
  const source: string;
  export default source;
}

declare module "single:pictures" {
  const source: string;
  export default source;
}

declare module "single:vectors" {
  const source: string;
  export default source;
}

declare module "single:thumbnails" {
  const source: string;
  export default source;
}
