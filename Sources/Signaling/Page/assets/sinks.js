// Where received files go: a place that a person chose, the origin's private file system, or memory. Each sink has
// makeDirectory(path) and create(path); a file has write(bytes), close() and abort(). close() gives a Blob to be saved
// by a link, or null where the file has its place.

const PIECE = 8 << 20, PREFIX = 'transfer-';

/** Folders flattened, for places without them. */
export const flat = path => path.join('-');

async function writer(handle) {
  const stream = await handle.createWritable();
  return {
    write: bytes => stream.write(bytes),
    close: async () => { await stream.close(); return null; },
    abort: () => stream.abort().catch(() => {}),
  };
}

/** One file, where a person chose. */
class ChosenFile {
  constructor(handle) { this.handle = handle; }
  async makeDirectory() {}
  create() { return writer(this.handle); }
}

/** A folder that a person chose; nothing in it is overwritten. */
class ChosenFolder {
  #root; #names = new Map();
  constructor(root) { this.#root = root; }

  async makeDirectory(path) { await this.#open(path); }

  async create(path) {
    const folder = await this.#open(path.slice(0, -1));
    const name = path.length === 1 ? await this.#rootName(path[0]) : path.at(-1);
    return writer(await folder.getFileHandle(name, {create: true}));
  }

  async #open(path) {
    let folder = this.#root;
    for (const [depth, name] of path.entries()) {
      folder = await folder.getDirectoryHandle(depth ? name : await this.#rootName(name), {create: true});
    }
    return folder;
  }

  /** A name that was free when it was first asked for. */
  async #rootName(wanted) {
    const [, stem, extension] = /^(.+?)(\.[^.]*)?$/s.exec(wanted);
    for (let number = 0; !this.#names.has(wanted); number++) {
      const name = number ? `${stem} (${number})${extension ?? ''}` : wanted;
      if (![...this.#names.values()].includes(name) && !await this.#exists(name)) this.#names.set(wanted, name);
    }
    return this.#names.get(wanted);
  }

  async #exists(name) {
    try {
      await this.#root.getFileHandle(name);
    } catch (error) {
      if (error.name === 'NotFoundError') return false;
      if (error.name !== 'TypeMismatchError') throw error;
    }
    return true;
  }
}

/** The origin's private file system: on disk, until it is saved by a link. */
class PrivateFiles {
  #folder; #count = 0;
  constructor(folder) { this.#folder = folder; }

  static async make() {
    const root = await navigator.storage.getDirectory();
    for await (const name of root.keys()) {
      // What pages that are gone left behind.
      if (name.startsWith(PREFIX)) {
        await navigator.locks.request(name, {ifAvailable: true}, lock => lock && root.removeEntry(name, {recursive: true}).catch(() => {}));
      }
    }
    const name = PREFIX + [...crypto.getRandomValues(new Uint32Array(2))].join('-');
    navigator.locks.request(name, () => new Promise(() => {}));
    return new PrivateFiles(await root.getDirectoryHandle(name, {create: true}));
  }

  async makeDirectory() {}

  async create() {
    const handle = await this.#folder.getFileHandle(String(this.#count++), {create: true}), file = await writer(handle);
    const close = async () => {
      await file.close();
      const kept = await handle.getFile();
      // With a type, or browsers guess one and put its ending behind the name.
      return kept.slice(0, kept.size, 'application/octet-stream');
    };
    return {...file, close};
  }
}

/** Memory, in pieces: browsers put large Blobs on disk. */
class Memory {
  async makeDirectory() {}

  async create() {
    let pieces = [], pending = [], size = 0;
    const gather = () => { pieces.push(new Blob(pending)); pending = []; size = 0; };
    return {
      async write(bytes) {
        pending.push(bytes);
        size += bytes.length;
        if (size >= PIECE) gather();
      },
      async close() {
        gather();
        return new Blob(pieces, {type: 'application/octet-stream'});
      },
      abort() { pieces = pending = []; },
    };
  }
}

const isPrivateUsable = () => isSecureContext && !!navigator.storage?.getDirectory && !!navigator.locks
  && 'createWritable' in (globalThis.FileSystemFileHandle?.prototype ?? {});

/** What this browser and page allow: 'file', 'folder', 'private' or 'memory'. */
export function bestKind(entries) {
  const isOne = entries.length === 1 && entries[0].kind === 'file';
  if (isSecureContext && isOne && globalThis.showSaveFilePicker) return 'file';
  if (isSecureContext && !isOne && globalThis.showDirectoryPicker) return 'folder';
  return isPrivateUsable() ? 'private' : 'memory';
}

/** Opens a sink; to be called at once when a person has clicked. Throws AbortError if no place was chosen. */
export async function openSink(kind, entries, byteCount) {
  try {
    if (kind === 'file') return new ChosenFile(await showSaveFilePicker({suggestedName: entries[0].path[0]}));
    if (kind === 'folder') return new ChosenFolder(await showDirectoryPicker({id: 'received', mode: 'readwrite'}));
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    // A browser that has the dialogue and does not show it, as by an administrator's policy.
  }
  if (isPrivateUsable()) {
    try {
      const {quota = Infinity, usage = 0} = await navigator.storage.estimate();
      if (byteCount <= quota - usage) return await PrivateFiles.make();
    } catch { /* as in private windows of some browsers */ }
  }
  return new Memory();
}
