// Every message between a page and a worker, and every type in one. It imports only types.
//
// The page calls a worker, and the worker answers:
//   {id, method, params} -> {id, progress | warning | early | device | times}* -> {id, result} | {id, error}
//   {…, timed: true}        a call that wants to know the times
//   {id, abort: true}       aborts a call, if the call supports that
//   {alive: true}           once, when the worker holds the Web Lock that has its name
//   {requests: [URL, …]}    URLs that the worker has requested
//   {thread: MessagePort}   for each thread of the module: a port that reports its end, if it fails

/** @typedef {"text" | "vision"} Tower */

/** @typedef {import("../../pkg/simd128/clip_wasm.js").Preprocessing} Preprocessing */

/**
 * Where a model comes from.
 * @typedef {object} Origin
 * @property {number | null} size bytes of its GGUF, even if it was converted here
 * @property {string | null} sha256 of its file, if one was given and has been verified, now or at an earlier visit
 * @property {string | null} source the URL it was loaded from
 */

/** @typedef {import("../../pkg/simd128/clip_wasm.js").ModelInfo & Origin} ModelInfo */

/**
 * Limits that differ from the defaults: what files and calls may ask for at most. docs/limits.md gives the reasons.
 * @typedef {object} LimitOptions
 * @property {number} [pixels] pixels of an image
 * @property {number} [imageBytes] bytes of an image's file
 * @property {number} [decodeBytes] bytes of memory that decoding an image takes, the decoded image included
 * @property {number} [jpegScans] scans of a progressive JPEG
 * @property {number} [textBytes] bytes of a text, in UTF-8
 * @property {number} [headerBytes] bytes before a model file's tensors
 * @property {number} [metadataValues] values in a model's metadata, every token and merge of its vocabulary included
 * @property {number} [tensors] tensors of a model file
 * @property {number} [weightBytes] bytes of memory that a model's weights take
 * @property {number} [layers] blocks of a tower
 * @property {number} [width] values of a token or a patch between the layers
 * @property {number} [feedForward] values between the two layers of an MLP
 * @property {number} [projection] components of an embedding
 * @property {number} [vocabulary] tokens of a vocabulary
 * @property {number} [tokenBytes] bytes of a token in the vocabulary
 * @property {number} [contextTokens] tokens of a text that a model reads
 * @property {number} [imageSize] the edge of the square that a model reads, in pixels
 * @property {number} [patches] patches that an image is cut into
 * @property {number} [jsonBytes] bytes of a JSON file beside a checkpoint's weights
 * @property {number} [files] files that a checkpoint's weights are in
 */

/**
 * The parameters of a load.
 * @typedef {object} LoadParams
 * @property {string | Blob | File[]} source
 * @property {import("./hub.js").Access | null} access to private models of the Hub
 * @property {string} [libraryUrl] of the folder with the library's files
 * @property {boolean} inPlace whether no worker is started: the caller's context computes
 * @property {string} type that a checkpoint is converted to
 * @property {"gelu" | "quick_gelu"} [activation] of a checkpoint, if its configuration is wrong
 * @property {Tower[]} [towers]
 * @property {Tower} [first] the tower to load first and to report at once, before the others
 * @property {number} [size]
 * @property {string} [sha256]
 * @property {string[]} mirrors
 * @property {boolean} keep
 * @property {number} idleTimeout
 * @property {number} threads
 * @property {"auto" | "wasm" | "webgpu"} device what computes; with `auto` the GPU, if it is right and faster
 * @property {boolean} ignoreMemory
 * @property {LimitOptions} limits of the model and of its inputs
 */

/**
 * What computes: for reports, and to see why one device is faster than another. Vectors are the same on all processors,
 * to the last bit; a GPU's have a cosine of 0.9999 to them, or more.
 * @typedef {object} DeviceInfo
 * @property {"wasm" | "webgpu"} name the processor, or the GPU
 * @property {string} [adapter] the GPU's name, as far as the browser tells it
 * @property {string} build of the module: `simd128` or `relaxed`, and with `-threads` if it can share its work; `webgpu`
 *   for a GPU
 * @property {"i16 pairs" | "signed bytes" | "unsigned bytes" | "packed bytes" | "f32"} products how it multiplies 8-bit
 *   weights. A processor: in pairs widened to 16 bits, or with its byte dot product, whose weights are signed or unsigned
 *   bytes. A GPU: with its dot product of four bytes, or as 32-bit floats
 */

/**
 * Why a GPU is not used. `isSlow`: it is right, but the processor is faster.
 * @typedef {{ reason: string, isSlow: boolean }} Refusal
 */

/**
 * What is known of a GPU, and how to remember what is found out now.
 * @typedef {object} GpuVerdict
 * @property {Refusal | null} refusal
 * @property {string | null} products of a GPU that is faster than the processor: how it multiplies fastest
 * @property {(products: string) => Promise<void>} accept
 * @property {(refusal: Refusal, isPassing?: boolean) => Promise<void>} refuse `isPassing`: it may be better tomorrow
 */

/**
 * The result of a load.
 * @typedef {object} Loaded
 * @property {ModelInfo} info
 * @property {DeviceInfo} device
 * @property {number} threads
 * @property {{ memory: number, weights: number }} memory bytes that the module has, and of them those of the weights
 */

/**
 * Bytes loaded so far, and the total; `null` if it is not known. Neither decreases, and both count all bytes that are
 * read of the file, from a server or from this device's storage.
 * @typedef {object} Progress
 * @property {number} loaded
 * @property {number | null} total
 * @property {number | null} bytesPerSecond over the last seconds; `null` at the start
 * @property {number | null} secondsLeft
 */

/**
 * Something that went wrong although the model works: it is not stored, its worker had to be replaced, or the processor
 * computes although there is a GPU.
 * @typedef {{ code: "not_kept" | "worker_replaced" | "not_on_gpu", message: string }} Warning
 */

/**
 * The tokens of a text.
 * @typedef {object} TokenizedText
 * @property {number[]} ids as they are embedded: start and end included, not padded, truncated to the context's length
 * @property {number} count how many the whole text has, start and end included
 * @property {boolean} truncated whether the text is truncated
 */

/**
 * Pixels: red, green, blue and alpha of each, not premultiplied, row by row from the top.
 * @typedef {{ data: Uint8ClampedArray, width: number, height: number }} Pixels
 */

/**
 * A picture as a picture worker reads it: a file's bytes, a bitmap of the browser's, or pixels.
 * @typedef {Blob | Uint8Array | ImageBitmap | Pixels} Picture
 */

/**
 * @typedef {object} PictureParams
 * @property {Picture} image
 * @property {Preprocessing} preprocessing of the model
 * @property {"exif" | "ignore"} orientation
 * @property {"drop" | "white" | "black"} alpha
 * @property {LimitOptions} limits
 */

/**
 * Milliseconds that a picture takes until it is ready for a tower.
 * @typedef {object} PictureTimes
 * @property {number} read of its file's bytes
 * @property {number} decode
 * @property {number} resize crop included
 * @property {"wasm" | "browser" | null} decoder what decoded it: the library, or the browser, whose formats are AVIF, HEIC
 *   and the like; `null` for pixels, which are only copied
 */

/**
 * Milliseconds that a tower takes for inputs that it computes together, and how many they are.
 * @typedef {{ tower: number, batch: number }} TowerTimes
 */

/**
 * An error as it crosses a worker's border.
 * @typedef {{ code: string, message: string, statusCode: number }} ErrorMessage
 */

/**
 * The embedding of an input, `[embeddingDimension]`, or its error.
 * @typedef {Float32Array | ErrorMessage} Outcome
 */

/**
 * What a call can report before its result, and the signal that aborts it.
 * @typedef {object} Exchange
 * @property {(progress: Progress) => void} onProgress
 * @property {(warning: Warning) => void} onWarning
 * @property {(loaded: Loaded) => void} onEarly
 * @property {(computes: Pick<Loaded, "device" | "threads" | "memory">) => void} onDevice called when something else
 *   computes from now on
 * @property {(times: PictureTimes | TowerTimes) => void} onTimes does nothing unless the call wants to know them
 * @property {AbortSignal} signal
 */

/**
 * The methods of a model worker.
 * @typedef {object} ModelMethods
 * @property {(params: LoadParams, exchange: Exchange) => Promise<Loaded>} load the first towers, or further ones
 * @property {(params: { texts: string[], normalize: boolean }, exchange: Exchange) => Promise<Outcome[]>} embedTexts
 * @property {(params: { squares: Uint8Array[], normalize: boolean }, exchange: Exchange) => Promise<Outcome[]>} embedSquares of `[S, S, 3]` each, RGB
 * @property {(params: { texts: string[] }, exchange: Exchange) => Promise<TokenizedText[]>} tokenize
 * @property {(params: { isBroken: boolean }) => void} close frees the model's memory; nothing is called after it
 */

/**
 * The methods of a picture worker.
 * @typedef {object} PictureMethods
 * @property {(params: { module?: WebAssembly.Module, early?: boolean }) => Promise<WebAssembly.Module>} start fetches and
 *   compiles the module, unless another worker has compiled it already; returns it for others. `early`: no picture waits
 *   for it yet, so there is time to warm up
 * @property {(params: PictureParams, exchange: Exchange) => Promise<Uint8Array>} prepare `[S, S, 3]`, RGB
 */

/**
 * A message from a worker to its page.
 * @typedef {object} Answer
 * @property {true} [alive]
 * @property {string[]} [requests]
 * @property {MessagePort} [thread]
 * @property {number} id
 * @property {Progress} [progress]
 * @property {Warning} [warning]
 * @property {Loaded} [early]
 * @property {Pick<Loaded, "device" | "threads" | "memory">} [device]
 * @property {PictureTimes | TowerTimes} [times]
 * @property {any} [result]
 * @property {ErrorMessage} [error]
 */

/**
 * What the threads of a module share, and the name of its build.
 * @typedef {{ module: WebAssembly.Module, memory: WebAssembly.Memory, build: string }} Shared
 */

export {}; // a module, though it has only types
