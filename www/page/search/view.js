// The Search view: indexes folders of pictures with the chosen model, and finds pictures by words or by a picture.

import { ClipError, errorJson } from "../../clip.js";
import { isDomException } from "../../lib/shared/error.js";
import { elementById } from "../shell/elements.js";
import { modelName } from "../model/names.js";
import { showError } from "../shell/notice.js";
import { Slices } from "../shell/slices.js";
import { Collection } from "./collection.js";
import { PictureDatabase } from "./database.js";
import { fullPath, isWithin, sourceOfHandle, sourcesOfFiles, sourcesOfTransfer } from "./folder.js";
import { offerExchange } from "./exchange.js";
import { FolderList } from "./folders.js";
import { Indexing } from "./indexing.js";
import { showNote } from "./note.js";
import { IndexingProgress, pictures } from "./progress.js";
import { Query } from "./query.js";

/** @import { ClipEncoder, ModelInfo } from "../../clip.js" */
/** @import { ModelPanel } from "../model/view.js" */
/** @import { FolderCount, Model } from "./database.js" */
/** @import { Picture, Source } from "./folder.js" */

const folderButton = elementById("search-folder", HTMLButtonElement);
const folderInput = elementById("search-folder-files", HTMLInputElement);
const filesInput = elementById("search-files", HTMLInputElement);
const about = elementById("search-about", HTMLElement);
const errorPlace = elementById("search-error", HTMLElement);

export class SearchView {
  #model;
  /** @type {Promise<PictureDatabase | null>} */
  #database;
  /** Why nothing more is stored; shown once. */
  #lost = "";
  /** @type {ClipEncoder | null} for whose model the collection is, or is being opened */
  #encoder = null;
  /** @type {Promise<Collection> | null} */
  #opening = null;
  /** @type {Collection | null} */
  #collection = null;
  /** @type {Map<string, Picture>} pictures that were opened in this visit, by full path */
  #opened = new Map();
  /** @type {FolderCount[]} */
  #kept = [];
  /** @type {Map<string, FileSystemDirectoryHandle>} of folders, those of earlier visits included */
  #handles = new Map();
  /** What is happening before pictures can be indexed, as a text. */
  #stage = "";
  #wasIndexing = false;
  #indexing = new Indexing(() => this.#showIndexing());
  #progress = new IndexingProgress(this.#indexing);
  #folders = new FolderList({
    forget: (folder) => this.#forget(folder),
    open: (handle) => this.#reopen(handle),
  });
  #query = new Query({
    open: async () => {
      const encoder = await this.#model.encoder();
      return { encoder, collection: await this.#collectionOf(encoder) };
    },
    onEncoderLost: () => this.#model.forget(),
    fileOf: (entry) => this.#opened.get(fullPath(entry))?.file ?? null,
  });

  /** @param {ModelPanel} model */
  constructor(model) {
    this.#model = model;
    this.#database = PictureDatabase.open().catch((error) => {
      this.#lose(error);
      return null;
    });
    model.addEventListener("ready", () => this.#followModel());
    offerExchange({
      open: async () => this.#collectionOf(await this.#model.encoder()),
      onImported: () => this.#refresh(),
    });
    folderButton.addEventListener("click", () => this.#chooseFolder());
    for (const input of [folderInput, filesInput]) {
      input.addEventListener("change", () => {
        this.#index(sourcesOfFiles([...(input.files ?? [])]));
        input.value = "";
      });
    }
    this.#followModel();
  }

  /**
   * @param {File[]} files
   * @param {DataTransfer} transfer folders and pictures to index, or a single picture to search by
   */
  take(files, transfer) {
    if (files.length === 0) return;
    const { single, sources } = sourcesOfTransfer(transfer);
    if (single) this.#query.searchPicture(single);
    else sources.then((sources) => this.#index(sources));
  }

  /** Shows what is indexed for the model in use, if that needs no download. */
  async #followModel() {
    try {
      if (await this.#model.isAtHand()) await this.#collectionOf(await this.#model.encoder());
      else await this.#refresh();
    } catch (error) {
      showError(errorPlace, error);
    }
  }

  /**
   * Opens the collection of an encoder's model, and shows it.
   * @param {ClipEncoder} encoder
   * @returns {Promise<Collection>}
   */
  #collectionOf(encoder) {
    if (this.#encoder !== encoder || !this.#opening) {
      this.#encoder = encoder;
      this.#opening = this.#open(encoder);
      this.#opening.catch(() => (this.#opening = null));
    }
    return this.#opening;
  }

  /**
   * @param {ClipEncoder} encoder
   * @returns {Promise<Collection>}
   */
  async #open(encoder) {
    await encoder.loaded.catch(() => {}); // the model's info is complete only when all of it is loaded
    const model = modelOf(encoder.info);
    if (this.#collection?.model.key === model.key) return this.#collection;
    const database = await this.#database;
    const collection = await Collection.open(database, model, encoder.info.embeddingDimension, {
      onUnstored: (error) => this.#lose(error),
      onLost: () => this.#forgetCollection(collection),
    });
    if (encoder !== this.#encoder && this.#opening) {
      collection.close();
      return this.#opening; // another model has been chosen meanwhile
    }
    if (this.#collection) {
      this.#indexing.drop();
      this.#query.clear();
      this.#collection.close();
    }
    this.#collection = collection;
    about.hidden = collection.count > 0; // who has indexed pictures knows it, and needs the room
    await this.#refresh();
    return collection;
  }

  /** What needs it next reads it anew from the database. @param {Collection} collection whose vectors are lost */
  #forgetCollection(collection) {
    if (this.#collection !== collection) return;
    this.#indexing.pause();
    this.#query.clear();
    this.#collection = this.#opening = null;
    this.#showIndexing();
    showError(errorPlace, new ClipError("worker_failed", "the worker that searches has stopped, perhaps because memory ran out; the next search starts it anew, and a paused indexing can be resumed"));
  }

  async #chooseFolder() {
    const { showDirectoryPicker } = /** @type {{ showDirectoryPicker?: (options: object) => Promise<FileSystemDirectoryHandle> }} */ (window);
    if (!showDirectoryPicker) return folderInput.click();
    try {
      // Unlike the input, it does not ask about an upload, and the folder can be opened again.
      const handle = await showDirectoryPicker({ id: "pictures", mode: "read" });
      await this.#index([sourceOfHandle(handle)]);
    } catch (error) {
      if (!isDomException(error, "AbortError")) folderInput.click();
    }
  }

  /** @param {FileSystemDirectoryHandle} handle */
  async #reopen(handle) {
    const asker = /** @type {{ requestPermission?: (options: object) => Promise<PermissionState> }} */ (/** @type {unknown} */ (handle));
    try {
      const permission = await asker.requestPermission?.({ mode: "read" });
      if (permission !== "denied") await this.#index([sourceOfHandle(handle)]);
    } catch (error) {
      showError(errorPlace, error);
    }
  }

  /** @param {Source[]} sources */
  async #index(sources) {
    showError(errorPlace);
    try {
      const paths = [];
      for (const source of sources) paths.push(...(await this.#read(source)));
      this.#setStage("Loading the model…");
      const encoder = await this.#model.encoder();
      const collection = await this.#collectionOf(encoder);
      const failure = await encoder.loaded.then(() => null, (error) => error); // of whichever tower was still loading
      if (!encoder.info.towers.includes("vision")) {
        throw failure ?? new ClipError("missing_tower", "no vision tower is loaded: under “Change model”, load a model for images");
      }
      this.#indexNew(collection, paths);
    } catch (error) {
      showError(errorPlace, error);
    } finally {
      this.#setStage("");
      await this.#refresh();
    }
  }

  /**
   * @param {Source} source
   * @returns {Promise<string[]>} full paths of its pictures
   */
  async #read({ folder, handle, pictures: read }) {
    const paths = [];
    if (folder) this.#indexing.forgetFailures(folder); // all its pictures are tried again
    const slices = new Slices();
    for await (const found of read()) {
      await slices.next();
      if ("error" in found) {
        this.#indexing.fail(fullPath(found), found.error);
        continue;
      }
      const { size, lastModified } = found.file;
      this.#opened.set(fullPath(found), { ...found, size, lastModified });
      paths.push(fullPath(found));
      this.#setStage(`Reading ${folder || "the files"}…`);
    }
    if (handle) {
      this.#handles.set(folder, handle);
      const database = await this.#database;
      await database?.putHandle(folder, handle).catch((error) => this.#lose(error));
    }
    return paths;
  }

  /**
   * @param {Collection} collection
   * @param {Iterable<string>} paths of opened pictures
   */
  #indexNew(collection, paths) {
    const wanted = this.#missing(collection, paths);
    if (wanted.length === 0) return;
    const open = async () => {
      const encoder = await this.#model.encoder();
      const opened = await this.#collectionOf(encoder);
      if (opened.model.key === collection.model.key) return { encoder, collection: opened };
      throw new ClipError("closed", "another model has been chosen; index the pictures for that one");
    };
    this.#indexing.add({ open, onEncoderLost: () => this.#model.forget() }, wanted);
  }

  /**
   * @param {Collection} collection
   * @param {Iterable<string>} paths
   * @returns {Picture[]} those that have no vector in the collection
   */
  #missing(collection, paths) {
    return [...paths].flatMap((path) => {
      const picture = this.#opened.get(path);
      return picture && !collection.has(picture) ? [picture] : [];
    });
  }

  /** @param {string} [folder] by default, all folders */
  async #forget(folder) {
    this.#indexing.drop(folder);
    for (const path of [...this.#opened.keys()]) if (isWithin(folder, path)) this.#opened.delete(path);
    for (const name of [...this.#handles.keys()]) if (isWithin(folder, `${name}/`)) this.#handles.delete(name);
    this.#query.clear();
    await this.#collection?.drop(folder);
    this.#query.clear(); // of what was found meanwhile
    const database = await this.#database;
    if (folder === undefined) await database?.clear();
    else await database?.forget(folder);
    await this.#refresh();
  }

  /** @param {unknown} error of writing to the database */
  #lose(error) {
    const isFull = isDomException(error, "QuotaExceededError");
    const reason = isFull ? "this device has no more storage for them" : errorJson(error).error.message;
    this.#lost ||= `Pictures that are indexed from now on are not kept for the next visit: ${reason}.`;
    this.#showIndexing();
  }

  /** Reads what is stored again, and shows it. */
  async #refresh() {
    const database = await this.#database;
    try {
      this.#kept = (await database?.counts()) ?? [];
      for (const [folder, handle] of (await database?.handles()) ?? []) this.#handles.set(folder, handle);
    } catch (error) {
      this.#lose(error);
    }
    const open = new Set([...this.#opened.values()].map(({ folder }) => folder));
    const closed = new Map([...this.#handles].filter(([folder]) => !open.has(folder)));
    this.#folders.show({ counts: [...this.#ownCounts(), ...this.#otherCounts()], closed });
    this.#showNote();
    this.#showIndexing();
  }

  /** @returns {FolderCount[]} of the model in use, stored or not */
  #ownCounts() {
    const collection = this.#collection;
    return collection ? [...collection.folders()].map(([folder, count]) => ({ ...collection.model, folder, count })) : [];
  }

  /** @returns {FolderCount[]} of the other models */
  #otherCounts() {
    return this.#kept.filter(({ key }) => key !== this.#collection?.model.key);
  }

  /** @param {string} stage */
  #setStage(stage) {
    if (stage === this.#stage) return;
    this.#stage = stage;
    this.#showIndexing();
  }

  #showIndexing() {
    this.#progress.show(this.#stage || this.#describe());
    const isIndexing = this.#indexing.state === "running";
    if (isIndexing === this.#wasIndexing) return;
    this.#wasIndexing = isIndexing;
    if (!isIndexing) showError(errorPlace, this.#indexing.error);
    this.#refresh();
  }

  #describe() {
    const collection = this.#collection;
    if (!collection) return "The first folder, or the first search, loads the model.";
    if (collection.count === 0) return `Nothing is indexed for ${collection.model.name} yet.`;
    return `${pictures(collection.count)} indexed for ${collection.model.name}.`;
  }

  #showNote() {
    const collection = this.#collection;
    const { state, failures } = this.#indexing;
    const untried = state === "idle" ? [...this.#opened.keys()].filter((path) => !failures.has(path)) : [];
    showNote({
      warning: this.#lost,
      limits: collection ? this.#model.limits : "",
      others: this.#otherCounts(),
      isLoaded: collection !== null,
      missing: collection ? this.#missing(collection, untried).length : 0,
      onIndex: () => collection && this.#indexNew(collection, untried),
    });
  }
}

/**
 * Identifies a model by its file's hash, or, if that is not known, by its name and URL.
 * @param {ModelInfo} info
 * @returns {Model}
 */
function modelOf(info) {
  const { sha256, name, type, embeddingDimension, source } = info;
  const key = sha256 ?? JSON.stringify([name, type, embeddingDimension, source]);
  return { key, name: modelName(info) };
}
