// The files and folders that a person has chosen, as entries of docs/FILE-TRANSFER.md.
import {printable} from './protocol.js';
import {utf8} from './spake2.js';

/** More than any receiver takes. */
const LIMIT = 200000;

/** Why no receiver takes a path; null if it may. */
function wrong(path) {
  if (path.length > 64 || utf8(path.join('/')).length > 4095) return 'lies too deep in folders';
  for (const name of path) {
    if (!name || name === '.' || name === '..' || /[/\p{Cc}\p{Cs}]/u.test(name) || utf8(name).length > 255) {
      return 'has a name that not every system takes';
    }
  }
  return null;
}

/** Seconds and nanoseconds. */
function timeOf(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  return Number.isSafeInteger(seconds) ? [seconds, Math.floor(milliseconds - 1000 * seconds) * 1e6] : undefined;
}

export class Sources {
  #files = new Map(); #folders = new Map(); #leftOut = new Map(); #complaints = [];

  get files() { return [...this.#files.values()]; }
  get count() { return this.#files.size; }
  get bytes() { return this.files.reduce((sum, {size}) => sum + size, 0); }
  get isEmpty() { return !this.#files.size && !this.#folders.size; }
  /** What was not taken, in words. */
  takeComplaints() { return this.#complaints.splice(0); }
  /** What of all that was chosen does not go. */
  get leftOut() { return [...this.#leftOut.values()]; }

  /** Adds a file; one of the same name gets a number unless it is the same. */
  add(path, file) {
    if (!this.#isRight(path)) return;
    for (let number = 0; ; number++) {
      const [, stem, extension] = /^(.+?)(\.[^.]*)?$/s.exec(path.at(-1));
      const own = number ? [...path.slice(0, -1), `${stem} (${number})${extension ?? ''}`] : path, name = own.join('/');
      const old = this.#files.get(name);
      if (old && old.size === file.size && old.file.lastModified === file.lastModified) return;
      if (old || this.#folders.has(name)) continue;
      if (this.#makeFolders(own.slice(0, -1))) {
        this.#leftOut.delete(name);
        this.#files.set(name, {path: own, name, kind: 'file', size: file.size, file, modified: timeOf(file.lastModified), shown: printable(name)});
      }
      return;
    }
  }

  addFolder(path) {
    if (!this.#isRight(path)) return;
    this.#leftOut.delete(path.join('/'));
    this.#makeFolders(path);
  }

  leaveOut(path, reason, code = 'unsafe-path') {
    const name = printable(path.join('/'));
    this.#complaints.push(`${name} ${reason}`);
    this.#leftOut.set(path.join('/'), {name, code, reason: `${name} ${reason}`});
  }

  remove(name) { this.#files.delete(name); }

  clear() {
    this.#files.clear();
    this.#folders.clear();
    this.#leftOut.clear();
  }

  /** All, folders before what is in them. */
  get entries() { return [...this.#folders.values(), ...this.#files.values()]; }

  /** Why a receiver with these limits does not take all; null if it does. */
  excess(limits) {
    const {entries} = this, names = entries.reduce((sum, {name}) => sum + utf8(name).length, 0);
    if (entries.length > limits.entries) return `These are ${entries.length} files and folders, and the other machine takes ${limits.entries}.`;
    if (names > limits.nameBytes) return 'All the names together are longer than the other machine takes: send fewer files.';
    if (entries.some(({path}) => path.length > limits.depth)) return `The other machine takes ${limits.depth} folders in each other at most.`;
    if (this.bytes > limits.bytes) return `The other machine takes ${limits.bytes} bytes at most.`;
    return null;
  }

  #isRight(path) {
    const reason = wrong(path), isTooMany = this.#files.size + this.#folders.size >= LIMIT;
    if (reason) this.leaveOut(path, reason);
    else if (isTooMany) this.leaveOut(path, 'is one file too many', 'limit-exceeded');
    return !reason && !isTooMany;
  }

  #makeFolders(path) {
    for (let depth = 1; depth <= path.length; depth++) {
      const own = path.slice(0, depth), name = own.join('/');
      if (this.#files.has(name)) {
        this.leaveOut(own, 'is a file in the list already, and a folder cannot have its name');
        return false;
      }
      if (!this.#folders.has(name)) this.#folders.set(name, {path: own, name, kind: 'directory', size: 0, shown: printable(name)});
    }
    return true;
  }
}

/** Adds what was chosen in a dialogue. */
export function addChosen(sources, files) {
  for (const file of files) sources.add(file.webkitRelativePath ? file.webkitRelativePath.split('/') : [file.name], file);
}

/** Adds what was dropped, with all that is in folders. To be called at once: the browser forgets the items. */
export async function addDropped(sources, transfer) {
  const items = [...transfer.items].filter(item => item.kind === 'file')
    .map(item => ({entry: item.webkitGetAsEntry?.() ?? null, file: item.getAsFile()}));
  for (const {entry, file} of items) {
    if (entry) await walk(sources, entry, []);
    else if (file) sources.add([file.name], file);
  }
}

async function walk(sources, entry, above) {
  const path = [...above, entry.name];
  try {
    if (entry.isFile) return sources.add(path, await new Promise((done, fail) => entry.file(done, fail)));
    sources.addFolder(path);
    const reader = entry.createReader();
    // A part at a time, until there is none.
    for (;;) {
      const some = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (!some.length || path.length > 64 || sources.count >= LIMIT) break;
      for (const one of some) await walk(sources, one, path);
    }
  } catch (error) {
    sources.leaveOut(path, `cannot be read: ${error.message}`, 'access-denied');
  }
}
