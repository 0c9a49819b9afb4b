// SPAKE2 with P256-SHA256-HKDF-HMAC (RFC 9382), over BigInt: a page that did not come by HTTPS has no WebCrypto.
//
// BigInt takes a time that depends on the numbers. Whoever could measure it from outside learns little: each scalar is
// used for one exchange, each code for one guess, and both happen at a moment that the page's owner chooses.
import {SHA256} from './sha256.js';

const P = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const B = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;
const G = {x: 0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n,
  y: 0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n};

const mod = (n, m = P) => (n % m + m) % m;

function power(base, exponent) {
  let result = 1n;
  for (let b = mod(base); exponent; exponent >>= 1n, b = b * b % P) if (exponent & 1n) result = result * b % P;
  return result;
}

function inverse(n) {
  let [a, b, x, y] = [mod(n), P, 1n, 0n];
  while (b) {
    const q = a / b;
    [a, b, x, y] = [b, a - q * b, y, x - q * y];
  }
  return mod(x);
}

// M for side A, N for side B (RFC 9382 §4), compressed: sign of y, x.
function decompress(isOdd, x) {
  const y = power(x * x * x - 3n * x + B, (P + 1n) / 4n);
  return {x, y: (y & 1n) === isOdd ? y : P - y};
}
const M = decompress(0n, 0x886e2f97ace46e55ba9dd7242579f2993b64e16ef3dcab95afd497333d8fa12fn);
const N = decompress(1n, 0xd8bbd6c639c62937b04d997f38c3770719c629d7014d49a24b4f98baa1292b49n);

// Points in Jacobian coordinates, (X / Z², Y / Z³); Z = 0 is the neutral element.
const NEUTRAL = [1n, 1n, 0n];
const lift = ({x, y}) => [x, y, 1n];

function double([x, y, z]) {
  if (!z || !y) return NEUTRAL;
  const yy = y * y % P, s = 4n * x * yy % P, zz = z * z % P, m = 3n * (x - zz) * (x + zz) % P;
  const x3 = mod(m * m - 2n * s);
  return [x3, mod(m * (s - x3) - 8n * yy * yy), mod(2n * y * z)];
}

function add(p, q) {
  if (!p[2]) return q;
  if (!q[2]) return p;
  const [x1, y1, z1] = p, [x2, y2, z2] = q, z11 = z1 * z1 % P, z22 = z2 * z2 % P;
  const u1 = mod(x1 * z22), s1 = mod(y1 * z2 * z22), h = mod(x2 * z11 - u1), r = mod(y2 * z1 * z11 - s1);
  if (!h) return r ? NEUTRAL : double(p);
  const hh = h * h % P, hhh = h * hh % P, v = u1 * hh % P, x3 = mod(r * r - hhh - 2n * v);
  return [x3, mod(r * (v - x3) - s1 * hhh), mod(z1 * z2 * h)];
}

const negative = ([x, y, z]) => [x, mod(-y), z];

function multiply(point, scalar) {
  let result = NEUTRAL;
  for (let bit = 255n; bit >= 0n; bit--) {
    result = double(result);
    if (scalar >> bit & 1n) result = add(result, point);
  }
  return result;
}

const number = bytes => bytes.reduce((n, byte) => n << 8n | BigInt(byte), 0n);
const number32 = n => Uint8Array.from({length: 32}, (_, i) => Number(n >> BigInt(8 * (31 - i)) & 255n));

function encode([x, y, z]) {
  const i = inverse(z), ii = i * i % P;
  return concatenate(Uint8Array.of(4), number32(mod(x * ii)), number32(mod(y * ii * i)));
}

/** The point of an uncompressed encoding; null unless it is one of the curve. */
function decode(bytes) {
  if (bytes.length !== 65 || bytes[0] !== 4) return null;
  const x = number(bytes.subarray(1, 33)), y = number(bytes.subarray(33));
  return x < P && y < P && mod(y * y - x * x * x + 3n * x - B) === 0n ? [x, y, 1n] : null;
}

export const utf8 = text => new TextEncoder().encode(text);

export function concatenate(...parts) {
  const all = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  return all;
}

export const sha256 = bytes => new SHA256().update(bytes).digest();

/** RFC 2104 */
export function hmac(key, message) {
  const block = new Uint8Array(64);
  block.set(key.length > 64 ? sha256(key) : key);
  const inner = sha256(concatenate(block.map(byte => byte ^ 0x36), message));
  return sha256(concatenate(block.map(byte => byte ^ 0x5c), inner));
}

/** RFC 5869, without salt. */
export function hkdf(keyMaterial, info, byteCount) {
  const key = hmac(new Uint8Array(32), keyMaterial);
  let output = new Uint8Array(), block = output;
  for (let i = 1; output.length < byteCount; i++) {
    block = hmac(key, concatenate(block, info, Uint8Array.of(i)));
    output = concatenate(output, block);
  }
  return output.subarray(0, byteCount);
}

/** Whether two texts of bytes are the same, without stopping at the first difference. */
export function equal(a, b) {
  let difference = a.length ^ b.length;
  for (let i = 0; i < Math.min(a.length, b.length); i++) difference |= a[i] ^ b[i];
  return difference === 0;
}

/** One side of one exchange; `isA` tells which. Numbers are big endian and taken modulo the group's order. */
export class SPAKE2 {
  #isA; #names; #password; #secret;

  constructor({isA, names: [nameA, nameB], password, secret}) {
    this.#isA = isA;
    this.#names = [utf8(nameA), utf8(nameB)];
    this.#password = mod(number(password), ORDER);
    this.#secret = mod(number(secret), ORDER);
    this.share = encode(add(multiply(lift(G), this.#secret), multiply(lift(isA ? M : N), this.#password)));
  }

  /** The scalar that a code stands for, as bytes. */
  static password(code) { return hkdf(code, utf8('PeerConnection SPAKE2 password'), 48); }

  /** What both come to: `key`, this side's `confirmation`, the other's `expected` one; null if its share is none. */
  finish(peerShare, additionalData = new Uint8Array()) {
    const peer = equal(peerShare, this.share) ? null : decode(peerShare);
    if (!peer) return null;
    const common = multiply(add(peer, negative(multiply(lift(this.#isA ? N : M), this.#password))), this.#secret);
    if (!common[2]) return null;
    const shares = this.#isA ? [this.share, peerShare] : [peerShare, this.share];
    const parts = [...this.#names, ...shares, encode(common), number32(this.#password)].flatMap(part => {
      // The length in eight bytes, least significant first. RFC 9382 §3.3
      const length = new Uint8Array(8);
      new DataView(length.buffer).setUint32(0, part.length, true);
      return [length, part];
    });
    const transcript = concatenate(...parts), hash = sha256(transcript);
    const keys = hkdf(hash.subarray(16), concatenate(utf8('ConfirmationKeys'), additionalData), 32);
    const [a, b] = [hmac(keys.subarray(0, 16), transcript), hmac(keys.subarray(16), transcript)];
    return {key: hash.subarray(0, 16), confirmation: this.#isA ? a : b, expected: this.#isA ? b : a};
  }
}
