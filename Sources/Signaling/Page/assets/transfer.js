// The receiver of docs/FILE-TRANSFER.md over one data channel after another.
import {
  BLOCK, HEADER, Inbox, LEFT_OUT, LIST, TEXT_LIMIT, TransferError, count, hex, isDigest, leftOut, link, printable, violation,
} from './protocol.js';
import {SHA256} from './sha256.js';
import {equal, utf8} from './spake2.js';

const ACK_DISTANCE = 8 << 20;
const LIMITS = {entries: 20000, nameBytes: 4 << 20, depth: 64, bytes: Number.MAX_SAFE_INTEGER};

// --- what the sender says ----------------------------------------------------------
const check = (isRight, what) => { if (!isRight) throw violation(what); };

function digestOf(text) {
  check(isDigest(text), 'a hash that is none');
  return Uint8Array.from({length: 32}, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

/** The entries of an offer as they come, each checked. */
class Manifest {
  entries = []; files = 0; bytes = 0; #nameBytes = 0; #kinds = new Map();

  append(entry) {
    check(entry && typeof entry === 'object' && Array.isArray(entry.path), 'an entry without a path');
    const {path, kind} = entry, size = kind === 'file' ? entry.size ?? null : 0;
    check(['file', 'directory', 'symlink'].includes(kind), 'an entry of an unknown kind');
    const unsafe = what => new TransferError('unsafe-path', `The sender offers ${what}: nothing of it is taken.`);
    if (!path.length || path.length > LIMITS.depth) throw unsafe('a path that is empty or too deep');
    for (const name of path) {
      if (typeof name !== 'string' || !name || name === '.' || name === '..' || /[/\p{Cc}\p{Cs}]/u.test(name)
        || utf8(name).length > 255) throw unsafe(`the name “${printable(name)}”, which no file can have`);
    }
    const key = path.join('/'), bytes = utf8(key).length;
    this.#nameBytes += bytes + (kind === 'symlink' ? String(entry.target).length : 0);
    if (bytes > 4095 || this.#kinds.has(key)) throw unsafe('a path that is too long or comes twice');
    if (path.length > 1 && this.#kinds.get(path.slice(0, -1).join('/')) !== 'directory') {
      throw unsafe('something below what is no folder');
    }
    check(size === null || count(size), 'a file’s size that is no number');
    this.#kinds.set(key, kind);
    this.bytes += size ?? 0;
    if (kind === 'file') this.files++;
    const time = Array.isArray(entry.mtime) ? entry.mtime.join('.') : '';
    this.entries.push({path, kind, size, name: key, version: `${size} ${time}`});
    if (this.#nameBytes > LIMITS.nameBytes || this.bytes > LIMITS.bytes) {
      throw new TransferError('limit-exceeded', 'The offer is larger than a page takes: use rtc-peer receive.');
    }
  }

  get identity() { return hex(new SHA256().update(utf8(this.entries.map(e => `${e.kind} ${e.name}\n`).join(''))).digest()); }
}

const notForFiles = () => new TransferError('unsupported-version', 'This code is not for files: use rtc-peer on this machine.');

/**
 * Receives one offer. `accept(offer)` is asked once, and gives a sink (sinks.js), or null to refuse. `tell(event)` hears
 * {type: 'progress' | 'done' | 'failed' | 'left-out' | 'restarted', entry, …}.
 */
export class FileReceiver {
  #accept; #tell; #transfer = null; #decision = null; #sink = null; #files = new Map(); #made = new Set();

  constructor({accept, tell}) {
    this.#accept = accept;
    this.#tell = tell;
  }

  /** Uses a channel until all has come; after 'channel-closed' another one goes on. */
  async run(channel, inbox = new Inbox(channel)) {
    const send = message => { if (channel.readyState === 'open') channel.send(JSON.stringify(message)); };
    const run = new Run({sender: send, inbox, state: this});
    try {
      send({type: 'hello', protocol: 1, role: 'receiver', limits: LIMITS});
      return await run.receive();
    } catch (error) {
      const known = error instanceof TransferError ? error : new TransferError(...systemError(error));
      if (!known.isFromPeer && known.code !== 'channel-closed') send({type: 'error', code: known.code, reason: known.message});
      throw known;
    } finally {
      await run.leave();
    }
  }

  // For a run: what lasts from one channel to the next.
  tell(event) { this.#tell(event); }
  file(entry) { return this.#files.get(entry.name) ?? null; }
  setFile(entry, file) { file ? this.#files.set(entry.name, file) : this.#files.delete(entry.name); }
  get sink() { return this.#sink; }

  /** The sink for an offer, once somebody has decided; undefined if the channel ended before. */
  async decide(transfer, offer, closed) {
    if (this.#transfer !== null && this.#transfer !== transfer) {
      throw new TransferError('refused', 'The sender offers other files than before: load this page again to take them.');
    }
    this.#transfer = transfer;
    this.#decision ??= this.#accept(offer);
    const sink = await Promise.race([this.#decision, closed]);
    if (sink) this.#sink = sink;
    return sink;
  }

  async makeDirectory(entry) {
    if (this.#made.has(entry.name)) return;
    await this.#sink.makeDirectory(entry.path);
    this.#made.add(entry.name);
  }
}

function systemError(error) {
  if (error.name === 'QuotaExceededError') return ['no-space', 'There is no room left where the files go. Make room, and ask for the files again.'];
  if (error.name === 'NotAllowedError') return ['access-denied', 'The browser does not allow to write there (any more).'];
  return ['system', `The browser could not store it: ${error.message}`];
}

/** The protocol over one channel. */
class Run {
  #send; #inbox; #state; #manifest = new Manifest(); #offer = null; #phase = 'hello';
  #isWanted = []; #partials = new Map(); #current = null; #next = 0; #done = 0; #failed = 0;
  #leftOutRoom = LEFT_OUT + 1;

  constructor({sender, inbox, state}) {
    this.#send = sender;
    this.#inbox = inbox;
    this.#state = state;
  }

  async receive() {
    while (this.#phase !== 'left') {
      const message = await this.#inbox.next();
      if (message === null) {
        // The sender may leave once it has the answer to its “finish”.
        if (this.#phase === 'finishing') break;
        throw new TransferError('channel-closed', 'The connection broke.');
      }
      await (typeof message === 'string' ? this.#text(message) : this.#binary(new Uint8Array(message)));
    }
    return {done: this.#done, failed: this.#failed};
  }

  /** What is checked and stored of a file under way stays for the next channel. */
  async leave() {
    const current = this.#current;
    if (current?.file && !current.file.isDone) current.file.offset = current.file.verified;
  }

  async #text(text) {
    check(text.length <= TEXT_LIMIT, 'a text that is too long');
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      if (this.#phase !== 'hello') throw violation('a text that is no JSON');
      throw notForFiles();
    }
    check(message && typeof message === 'object', 'a text that is no object');
    const phase = this.#phase, {type} = message;
    if (type === 'error') throw new TransferError(printable(message.code), printable(message.reason), true);
    if (type === 'hello' && phase === 'hello') {
      if (message.protocol !== 1) throw new TransferError('unsupported-version', 'The sender speaks another version of the protocol.');
      if (!['sender', 'receiver'].includes(message.role)) throw notForFiles();
      check(message.role === 'sender', 'both sides want to receive');
      this.#phase = 'offer';
    } else if (type === 'offer' && phase === 'offer') {
      check(['entries', 'files', 'bytes'].every(key => count(message[key])) && message.entries > 0, 'an offer without numbers');
      digestOf(message.transfer);
      if (message.entries > LIMITS.entries) {
        throw new TransferError('limit-exceeded', `These are ${message.entries} files and folders, and a page takes ${LIMITS.entries}: use rtc-peer receive.`);
      }
      this.#offer = message;
      this.#phase = 'manifest';
    } else if (type === 'manifest' && phase === 'manifest') {
      await this.#take(message);
    } else if (phase === 'receiving') {
      await this.#control(message);
    } else if (type === 'bye' && phase === 'finishing') {
      this.#phase = 'left';
    } else {
      throw violation(`“${printable(type)}” out of turn`);
    }
  }

  // --- the offer -----------------------------------------------------------------
  async #take({first, entries}) {
    const manifest = this.#manifest, offer = this.#offer;
    check(first === manifest.entries.length && Array.isArray(entries) && entries.length > 0
      && first + entries.length <= offer.entries, 'a part of the list out of order');
    for (const entry of entries) manifest.append(entry);
    if (manifest.entries.length < offer.entries) return;
    check(manifest.files === offer.files && manifest.bytes === offer.bytes && manifest.identity === offer.transfer,
      'a list that is not what was announced');
    this.#phase = 'answering';
    const {files, bytes} = offer;
    const sink = await this.#state.decide(offer.transfer, {entries: manifest.entries, files, bytes}, this.#inbox.closed);
    if (sink === undefined) return;
    if (sink === null) {
      this.#send({type: 'refuse', code: 'refused', reason: 'the receiver does not want the files'});
      throw new TransferError('refused', 'You refused the files.', true);
    }
    await this.#answer();
    this.#phase = 'receiving';
    this.#skipUnwanted();
  }

  async #answer() {
    const done = [], partial = [];
    for (const [index, entry] of this.#manifest.entries.entries()) {
      this.#isWanted[index] = false;
      if (entry.kind === 'symlink') {
        this.#fail(index, 'unsupported-kind', 'A link to another file: a browser cannot make one.');
        continue;
      }
      let file = this.#state.file(entry);
      if (file && file.version !== entry.version) {
        // It changed since: what came of it is of no use.
        file.sinkFile?.abort();
        this.#state.setFile(entry, file = null);
      }
      if (entry.kind === 'directory') {
        try {
          await this.#state.makeDirectory(entry);
        } catch (error) {
          this.#fail(index, ...systemError(error));
          continue;
        }
      } else if (!file?.isDone) {
        this.#isWanted[index] = true;
        if (file?.verified) {
          partial.push({file: index, bytes: file.verified, root: hex(file.chain)});
          this.#partials.set(index, file);
        }
        continue;
      } else {
        this.#done++;
      }
      const last = done.at(-1);
      if (last?.[1] === index - 1) last[1] = index;
      else done.push([index, index]);
    }
    for (let at = 0; at < Math.max(done.length, partial.length); at += LIST) {
      this.#send({type: 'have', done: done.slice(at, at + LIST), partial: partial.slice(at, at + LIST)});
    }
    this.#send({type: 'accept'});
  }

  #fail(index, code, reason, isTold = true) {
    this.#failed++;
    if (isTold) this.#send({type: 'failed', file: index, code, reason});
    this.#state.tell({type: 'failed', entry: this.#manifest.entries[index], reason});
  }

  // --- files -----------------------------------------------------------------------
  #skipUnwanted() { while (this.#next < this.#isWanted.length && !this.#isWanted[this.#next]) this.#next++; }

  /** A file that begins; `offset` is where the sender goes on. */
  #start(index, offset, file) {
    const entry = this.#manifest.entries[index];
    if (offset === 0) {
      const old = this.#state.file(entry);
      if (old) {
        old.sinkFile?.abort();
        this.#state.tell({type: 'restarted', entry});
      }
      file = {version: entry.version, verified: 0, offset: 0, chain: new Uint8Array(32), acknowledged: 0, sinkFile: null,
        isDone: false, whole: this.#offer.digests ? new SHA256() : null};
      this.#state.setFile(entry, file);
    }
    file.offset = file.acknowledged = offset;
    this.#current = {index, entry, file, owesBlock: false, isDropped: false, block: null, fill: 0};
  }

  #startIfNew(index, offset) {
    if (this.#current) return;
    check(index === this.#next && index < this.#isWanted.length && offset === 0 && !this.#partials.has(index),
      'bytes of a file whose turn it is not');
    this.#start(index, 0);
  }

  #leaveFile() {
    this.#current = null;
    this.#next++;
    this.#skipUnwanted();
  }

  /** Stores something; what goes wrong with one file leaves the others. */
  async #attempt(work) {
    const current = this.#current;
    if (current.isDropped) return;
    try {
      await work(current);
    } catch (error) {
      const [code, reason] = error instanceof TransferError ? [error.code, error.message] : systemError(error);
      if (code === 'no-space') throw new TransferError(code, reason);
      current.isDropped = true;
      current.file.sinkFile?.abort();
      this.#state.setFile(current.entry, null);
      this.#fail(current.index, code, reason);
    }
  }

  async #binary(bytes) {
    check(this.#phase === 'receiving' && bytes.length > HEADER && !bytes[1] && !bytes[2] && !bytes[3], 'bytes that nobody asked for');
    const view = new DataView(bytes.buffer), index = view.getUint32(4), wide = view.getBigUint64(8);
    check(wide <= BigInt(Number.MAX_SAFE_INTEGER), 'an offset beyond what a file can have');
    const offset = Number(wide), payload = bytes.subarray(HEADER);
    if (bytes[0] === 1) await this.#chunk(index, offset, payload);
    else if (bytes[0] === 2) await this.#block(index, offset, payload);
    else throw violation('bytes of an unknown kind');
  }

  async #chunk(index, offset, payload) {
    this.#startIfNew(index, offset);
    const current = this.#current, {file, entry} = current;
    check(current.index === index && file.offset === offset && !current.owesBlock, 'a chunk that is not the next one');
    check(offset % BLOCK + payload.length <= BLOCK, 'a chunk that goes beyond its block');
    check(offset + payload.length <= (entry.size ?? Number.MAX_SAFE_INTEGER), 'a chunk that goes beyond its file');
    if (!current.isDropped) {
      current.block ??= new Uint8Array(Math.min(BLOCK, entry.size === null ? BLOCK : entry.size - offset));
      current.block.set(payload, current.fill);
      current.fill += payload.length;
    }
    file.offset += payload.length;
    current.owesBlock = file.offset % BLOCK === 0;
    if (!current.isDropped) this.#state.tell({type: 'progress', entry, bytes: file.offset});
  }

  async #block(index, offset, expected) {
    const current = this.#current;
    check(current?.index === index && current.file.offset === offset && current.owesBlock && expected.length === 32,
      'a block’s hash out of order');
    current.owesBlock = false;
    await this.#attempt(async ({file, entry, block}) => {
      const chain = await link(file.chain, block);
      if (!equal(chain, expected)) throw new TransferError('hash-mismatch', `${printable(entry.name)} arrived damaged.`);
      await this.#store(block);
      Object.assign(file, {chain, verified: offset});
      if (offset - file.acknowledged < ACK_DISTANCE) return;
      file.acknowledged = offset;
      this.#send({type: 'ack', file: index, bytes: offset});
    });
  }

  async #store(bytes) {
    const current = this.#current, {file, entry} = current;
    current.block = null;
    current.fill = 0;
    file.whole?.update(bytes);
    file.sinkFile ??= await this.#state.sink.create(entry.path);
    if (bytes.length) await file.sinkFile.write(bytes);
  }

  async #control(message) {
    const {type, file: index} = message;
    if (type === 'begin') {
      const file = this.#partials.get(index), {offset} = message;
      check(!this.#current && index === this.#next && file && (offset === 0 || offset === file.verified),
        'a beginning that nobody asked for');
      this.#partials.delete(index);
      this.#start(index, offset, file);
    } else if (type === 'end') {
      this.#startIfNew(index, 0);
      await this.#end(message);
    } else if (type === 'skip') {
      check(index === (this.#current?.index ?? this.#next) && index < this.#isWanted.length, 'a file skipped out of order');
      const entry = this.#manifest.entries[index], isTold = this.#current?.isDropped;
      if (!isTold) {
        this.#state.file(entry)?.sinkFile?.abort();
        this.#state.setFile(entry, null);
        this.#fail(index, printable(message.code), printable(message.reason), false);
      }
      this.#leaveFile();
    } else if (type === 'left-out') {
      this.#leftOut(message);
    } else if (type === 'finish') {
      check(!this.#current && this.#next === this.#isWanted.length, 'an end before all files came');
      this.#send({type: 'finished', done: this.#done, failed: this.#failed});
      this.#phase = 'finishing';
    } else {
      throw violation(`“${printable(type)}” out of turn`);
    }
  }

  /** Something that is not in the offer; its name is for people alone. */
  #leftOut({name, reason, more = null}) {
    const isNamed = more === null;
    check(isNamed ? typeof name === 'string' && typeof reason === 'string' : count(more), 'something left out without a name');
    check(this.#leftOutRoom > (isNamed ? 1 : 0), 'too much that is left out');
    this.#leftOutRoom = isNamed ? this.#leftOutRoom - 1 : 0;
    this.#failed++;
    this.#state.tell(isNamed ? {type: 'left-out', entry: leftOut(printable(name)), reason: printable(reason)}
      : {type: 'left-out', entry: leftOut(`${more} more`), reason: 'left out as well'});
  }

  async #end({file: index, bytes, root, sha256}) {
    const current = this.#current, {file, entry} = current;
    check(current.index === index && file.offset === bytes && !current.owesBlock && (entry.size ?? bytes) === bytes,
      'a file’s end that is not where it is');
    check((sha256 !== undefined && sha256 !== null) === Boolean(this.#offer.digests), 'an end with or without “sha256”');
    const expected = digestOf(root), whole = sha256 ? digestOf(sha256) : null;
    await this.#attempt(async () => {
      const rest = (current.block ?? new Uint8Array()).subarray(0, current.fill);
      const chain = rest.length ? await link(file.chain, rest) : file.chain;
      const isRight = equal(chain, expected);
      if (isRight) await this.#store(rest);
      if (!isRight || (whole && !equal(file.whole.digest(), whole))) {
        throw new TransferError('hash-mismatch', `${printable(entry.name)} arrived damaged.`);
      }
      const blob = await file.sinkFile.close();
      Object.assign(file, {isDone: true, sinkFile: null, whole: null, chain: null});
      this.#done++;
      this.#send({type: 'done', files: [index]});
      this.#state.tell({type: 'done', entry, bytes, blob});
    });
    this.#leaveFile();
  }
}
