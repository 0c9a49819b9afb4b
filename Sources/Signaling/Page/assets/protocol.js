// What both sides of docs/FILE-TRANSFER.md share.
import {SHA256} from './sha256.js';

export const BLOCK = 1 << 20, HEADER = 16, TEXT_LIMIT = 1 << 20, LIST = 250;
/** What was left out is named in so many messages; the rest is a number. */
export const LEFT_OUT = 1000;
/** What may wait for a slow disk; a channel that brings more is given up, and the transfer goes on when all is stored. */
const BACKLOG = 256 << 20;

/** `code` as in the document; 'channel-closed' means that another channel goes on. */
export class TransferError extends Error {
  constructor(code, reason, isFromPeer = false) {
    super(reason);
    Object.assign(this, {code, isFromPeer});
  }
}

/** `peer` is what a person calls the other side. */
export const violation = (what, peer = 'sender') =>
  new TransferError('protocol-violation', `The ${peer} does not keep to the protocol: ${what}.`);
export const hex = bytes => [...bytes].map(byte => byte.toString(16).padStart(2, '0')).join('');
export const printable = text => String(text).slice(0, 300).replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, '\ufffd');

// WebCrypto is faster, but only secure pages have it.
const sha = crypto.subtle ? async bytes => new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  : async bytes => new SHA256().update(bytes).digest();

/** The chain value after a block. */
export async function link(value, block) {
  const both = new Uint8Array(64);
  both.set(value);
  both.set(await sha(block), 32);
  return sha(both);
}

export const count = value => Number.isSafeInteger(value) && value >= 0;
/** The line of what a sender left out; no name in an offer is like its own. */
export const leftOut = shown => ({path: [], kind: 'left-out', name: `\0${shown}`, size: null, shown});

export const isDigest = text => typeof text === 'string' && /^[0-9a-f]{64}$/.test(text);

/** One channel's messages in order, and how it ends. */
export class Inbox {
  #queue = []; #bytes = 0; #wake = null; #isClosed = false;

  constructor(channel) {
    channel.onmessage = ({data}) => {
      this.#queue.push(data);
      this.#bytes += (data.byteLength ?? data.length) + 64;
      if (this.#bytes > BACKLOG) { channel.onmessage = null; channel.close(); }
      this.#wake?.();
    };
    this.closed = new Promise(done => channel.addEventListener('close', () => { this.#isClosed = true; this.#wake?.(); done(); }));
  }

  /** The next message, which stays; null after the last. */
  async peek() {
    while (!this.#queue.length) {
      if (this.#isClosed) return null;
      await new Promise(done => { this.#wake = done; });
    }
    return this.#queue[0];
  }

  /** The next message; null after the last. */
  async next() {
    const message = await this.peek();
    if (message === null) return null;
    this.#queue.shift();
    this.#bytes -= (message.byteLength ?? message.length) + 64;
    return message;
  }
}
