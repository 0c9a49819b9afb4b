// The sender of docs/FILE-TRANSFER.md over one data channel after another.
import {BLOCK, HEADER, Inbox, LEFT_OUT, TEXT_LIMIT, TransferError, count, hex, isDigest, link, printable, violation} from './protocol.js';
import {SHA256} from './sha256.js';
import {utf8} from './spake2.js';

/** Bytes that wait in the channel: sending stops above the first, and goes on below the second. */
const HIGH = 4 << 20, LOW = 1 << 20;
const CHUNK = 256 << 10, MANIFEST = 60000, MANIFEST_ENTRIES = 1000;

const check = (isRight, what) => { if (!isRight) throw violation(what, 'receiver'); };

/** SHA-256 of what is offered: the entries' kinds and paths. */
const identity = entries => {
  const hash = new SHA256();
  for (const {kind, name} of entries) hash.update(utf8(`${kind} ${name}\n`));
  return hash.hex();
};

/** A promise with its ends. */
function gate() {
  const made = {};
  made.promise = new Promise((open, fail) => Object.assign(made, {open, fail}));
  made.promise.catch(() => {});
  return made;
}

/** Bytes of a file; throws an error with code and reason if they are not to be had. */
async function read({name, file, size}, offset) {
  const length = Math.min(BLOCK, size - offset);
  let bytes;
  try {
    bytes = new Uint8Array(await file.slice(offset, offset + length).arrayBuffer());
  } catch (error) {
    if (error.name === 'NotFoundError') throw new TransferError('not-found', `${printable(name)} is no longer there.`);
    throw new TransferError('changed', `${printable(name)} has changed since it was chosen, or cannot be read.`);
  }
  if (bytes.length !== length) throw new TransferError('changed', `${printable(name)} has changed since it was chosen.`);
  return bytes;
}

/**
 * Sends files. `choose(limits)` is asked once what to send: entries of {path, name, kind: 'file' | 'directory', size, file,
 * modified}, folders before what is in them. `leftOut()` gives what of the chosen is not among them, each {name, code, reason}.
 * `tell(event)` hears {type: 'progress' | 'done' | 'failed' | 'restarted', entry, …}.
 */
export class FileSender {
  #choose; #leftOut; #tell; #chosen = null;

  constructor({choose, leftOut = () => [], tell}) {
    this.#choose = choose;
    this.#leftOut = leftOut;
    this.#tell = tell;
  }

  /** Uses a channel until all has gone; after 'channel-closed' another one goes on. */
  async run(channel, inbox = new Inbox(channel)) {
    const run = new Run(channel, inbox, event => this.#tell(event));
    try {
      return await run.send(limits => this.#chosen ??= this.#choose(limits), this.#leftOut);
    } catch (error) {
      const isGone = !(error instanceof TransferError) && channel.readyState !== 'open';
      const known = error instanceof TransferError ? error
        : isGone ? new TransferError('channel-closed', 'The connection broke.')
        : new TransferError('system', `The browser could not send it: ${error.message}`);
      if (!known.isFromPeer && known.code !== 'channel-closed') run.say({type: 'error', code: known.code, reason: known.message});
      throw known;
    } finally {
      run.leave();
    }
  }
}

/** The protocol over one channel. */
class Run {
  #channel; #inbox; #tell; #phase = 'hello'; #error = null; #wake = null; #isOver = false;
  #entries = []; #states = []; #partials = new Map(); #sent = {file: -1, bytes: 0}; #failed = 0;
  #hello = gate(); #accepted = gate(); #finished = gate(); #ended = gate();

  constructor(channel, inbox, tell) {
    this.#channel = channel;
    this.#inbox = inbox;
    this.#tell = event => { if (!this.#isOver) tell(event); };
    channel.bufferedAmountLowThreshold = LOW;
    channel.onbufferedamountlow = () => this.#wake?.();
  }

  say(message) { if (this.#channel.readyState === 'open') this.#channel.send(JSON.stringify(message)); }

  leave() {
    this.#isOver = true;
    this.#wake?.();
  }

  async send(choose, leftOut) {
    this.#listen();
    this.say({type: 'hello', protocol: 1, role: 'sender'});
    const limits = await this.#unlessEnded(this.#hello.promise);
    this.#entries = await this.#unlessEnded(choose(limits));
    this.#states = this.#entries.map(() => 'waiting');
    this.#phase = 'answer';
    await this.#offer();
    await this.#unlessEnded(this.#accepted.promise);
    await this.#sayLeftOut(leftOut());
    for (const index of this.#entries.keys()) await this.#file(index);
    this.#phase = 'finishing';
    this.say({type: 'finish'});
    const done = await this.#unlessEnded(this.#finished.promise);
    this.say({type: 'bye'});
    return {done, failed: this.#failed};
  }

  /** What a promise gives, unless the channel or the receiver ends before. */
  #unlessEnded(promise) { return Promise.race([promise, this.#ended.promise]); }

  #goOn() {
    if (this.#error) throw this.#error;
    if (this.#isOver) throw new TransferError('channel-closed', 'The connection broke.');
  }

  /** Waits until the channel takes more. */
  async #room() {
    this.#goOn();
    while (this.#channel.bufferedAmount > HIGH) {
      await new Promise(done => { this.#wake = done; });
      this.#goOn();
    }
  }

  // --- what the receiver says ------------------------------------------------------
  async #listen() {
    try {
      while (this.#phase !== 'finished') {
        const text = await this.#inbox.next();
        if (text === null) throw new TransferError('channel-closed', 'The connection broke.');
        check(typeof text === 'string' && text.length <= TEXT_LIMIT, 'a message that is no text, or too long');
        let message;
        try {
          message = JSON.parse(text);
        } catch {
          throw violation('a text that is no JSON', 'receiver');
        }
        check(message && typeof message === 'object', 'a text that is no object');
        this.#take(message);
      }
    } catch (error) {
      this.#error = error;
      this.#ended.fail(error);
      this.#wake?.();
    }
  }

  #take(message) {
    const phase = this.#phase, {type, file} = message, state = count(file) ? this.#states[file] : undefined;
    const isUnderWay = ['sending', 'finishing'].includes(phase);
    if (type === 'error' || (type === 'refuse' && phase === 'answer')) {
      throw new TransferError(printable(message.code), printable(message.reason), true);
    } else if (type === 'hello' && phase === 'hello') {
      if (message.protocol !== 1) throw new TransferError('unsupported-version', 'The receiver speaks another version of the protocol.');
      check(message.role === 'receiver', 'both sides want to send');
      this.#phase = 'offer';
      const {entries, nameBytes, depth, bytes} = message.limits ?? {}, limit = value => count(value) ? value : Infinity;
      this.#hello.open({entries: limit(entries), nameBytes: limit(nameBytes), depth: limit(depth), bytes: limit(bytes)});
    } else if (type === 'have' && phase === 'answer') {
      this.#have(message);
    } else if (type === 'accept' && phase === 'answer') {
      this.#phase = 'sending';
      this.#accepted.open();
    } else if (type === 'failed' && (phase === 'answer' || isUnderWay)) {
      check(state && state !== 'done' && state !== 'failed', 'a failure at what is not under way');
      this.#states[file] = 'failed';
      if (state !== 'skipped') this.#fail(file, printable(message.reason));
    } else if (type === 'ack' && isUnderWay) {
      const {file: last, bytes} = this.#sent;
      check(state && count(message.bytes) && message.bytes <= this.#entries[file].size && (file < last || (file === last && message.bytes <= bytes)), 'a receipt for what was not sent');
    } else if (type === 'done' && isUnderWay) {
      check(Array.isArray(message.files), 'a list that is none');
      for (const index of message.files) {
        check(this.#states[index] === 'ended', 'a receipt for a file that has not ended');
        this.#states[index] = 'done';
        this.#tell({type: 'done', entry: this.#entries[index]});
      }
    } else if (type === 'finished' && phase === 'finishing') {
      check(!this.#states.includes('ended'), 'an end without a word on some file');
      this.#phase = 'finished';
      this.#finished.open(this.#states.filter((state, index) => state === 'done' && this.#entries[index].kind === 'file').length);
    } else {
      throw violation(`“${printable(type)}” out of turn`, 'receiver');
    }
  }

  #have({done, partial}) {
    check(Array.isArray(done ?? []) && Array.isArray(partial ?? []), 'a list that is none');
    for (const range of done ?? []) {
      check(Array.isArray(range) && count(range[0]) && range[0] <= range[1] && range[1] < this.#states.length, 'entries that were not offered');
      for (let index = range[0]; index <= range[1]; index++) {
        check(this.#states[index] === 'waiting' && !this.#partials.has(index), 'an entry reported twice');
        this.#states[index] = 'done';
      }
    }
    for (const part of partial ?? []) {
      const entry = this.#entries[part?.file];
      check(entry?.kind === 'file' && this.#states[part.file] === 'waiting' && !this.#partials.has(part.file) && count(part.bytes)
        && part.bytes > 0 && part.bytes % BLOCK === 0 && part.bytes <= entry.size && isDigest(part.root), 'a part that cannot be');
      this.#partials.set(part.file, part);
    }
  }

  #fail(index, reason) {
    this.#failed++;
    this.#tell({type: 'failed', entry: this.#entries[index], reason});
  }

  // --- the offer -------------------------------------------------------------------
  async #offer() {
    const entries = this.#entries, files = entries.filter(entry => entry.kind === 'file');
    this.say({type: 'offer', transfer: identity(entries), entries: entries.length, files: files.length,
      bytes: files.reduce((sum, {size}) => sum + size, 0), digests: false});
    let first = 0, texts = [], length = 0;
    const say = () => {
      if (texts.length) this.#channel.send(`{"type":"manifest","first":${first},"entries":[${texts.join(',')}]}`);
      first += texts.length;
      texts = [];
      length = 0;
    };
    const limit = Math.min(this.#messageSize, MANIFEST) - 200;
    for (const {path, kind, size, modified} of entries) {
      const text = JSON.stringify({path, kind, ...(kind === 'file' && {size}), ...(modified && {mtime: modified})});
      const bytes = utf8(text).length + 1;
      if (length + bytes > limit || texts.length === MANIFEST_ENTRIES) {
        await this.#room();
        say();
      }
      texts.push(text);
      length += bytes;
    }
    say();
  }

  get #messageSize() { return this.#channel.maxMessageSize ?? 65536; }

  /** The receiver would take the offer for all there was. */
  async #sayLeftOut(all) {
    for (const {name, code, reason} of all.slice(0, LEFT_OUT)) {
      await this.#room();
      this.say({type: 'left-out', name, code, reason});
    }
    if (all.length > LEFT_OUT) this.say({type: 'left-out', more: all.length - LEFT_OUT});
    this.#failed += all.length;
  }

  // --- files -----------------------------------------------------------------------
  async #file(index) {
    const entry = this.#entries[index];
    if (entry.kind !== 'file') return;
    if (this.#states[index] === 'done') {
      this.#tell({type: 'done', entry});
      return;
    }
    // Failed before anything of it was sent: nothing is waited for.
    if (this.#states[index] === 'failed') return;
    try {
      await this.#content(index, entry);
    } catch (error) {
      this.#goOn();
      if (!(error instanceof TransferError)) throw error;
      if (this.#states[index] !== 'failed') {
        this.#states[index] = 'skipped';
        this.#fail(index, error.message);
      }
      this.say({type: 'skip', file: index, code: error.code, reason: error.message});
    }
  }

  async #content(index, entry) {
    const {size} = entry, channel = this.#channel, partial = this.#partials.get(index);
    let offset = 0, value = new Uint8Array(32);
    if (partial) {
      for (; offset < partial.bytes; offset += BLOCK) {
        value = await link(value, await read(entry, offset));
        this.#goOn();
      }
      if (hex(value) !== partial.root) {
        offset = 0;
        value = new Uint8Array(32);
        this.#tell({type: 'restarted', entry});
      }
      this.say({type: 'begin', file: index, offset});
    }
    this.#states[index] = 'started';
    this.#sent = {file: index, bytes: offset};
    this.#tell({type: 'progress', entry, bytes: offset});
    let chunk = CHUNK;
    while (chunk + HEADER > this.#messageSize) chunk /= 2;
    let following = offset < size ? read(entry, offset) : null;
    while (following) {
      const block = await following, end = offset + block.length, isFull = block.length === BLOCK;
      this.#goOn();
      // The next block is read, and this one hashed, while this one goes.
      following = end < size ? read(entry, end) : null;
      following?.catch(() => {});
      const hashing = link(value, block);
      for (let at = 0; at < block.length; at += chunk) {
        await this.#room();
        if (this.#states[index] === 'failed') throw new TransferError('refused', 'the receiver failed at it');
        const piece = block.subarray(at, at + chunk);
        channel.send(message(1, index, offset + at, piece));
        this.#sent.bytes = offset + at + piece.length;
      }
      value = await hashing;
      this.#goOn();
      if (isFull) channel.send(message(2, index, end, value));
      offset = end;
      this.#tell({type: 'progress', entry, bytes: Math.max(0, offset - (following ? channel.bufferedAmount : 0))});
    }
    await this.#room();
    if (this.#states[index] === 'failed') throw new TransferError('refused', 'the receiver failed at it');
    this.#states[index] = 'ended';
    this.say({type: 'end', file: index, bytes: size, root: hex(value)});
  }
}

function message(kind, file, offset, bytes) {
  const all = new Uint8Array(HEADER + bytes.length), view = new DataView(all.buffer);
  view.setUint8(0, kind);
  view.setUint32(4, file);
  view.setBigUint64(8, BigInt(offset));
  all.set(bytes, HEADER);
  return all;
}
