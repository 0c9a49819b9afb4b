// SHA-256 (FIPS 180-4) over a stream: crypto.subtle takes a whole file at once and is for secure pages only.
const primes = [];
for (let n = 2; primes.length < 64; n++) if (primes.every(p => n % p)) primes.push(n);
const fraction = x => ((x - Math.floor(x)) * 2 ** 32) | 0;
const K = Int32Array.from(primes, p => fraction(Math.cbrt(p)));
const START = Int32Array.from(primes.slice(0, 8), p => fraction(Math.sqrt(p)));

export class SHA256 {
  #state = START.slice(); #block = new Uint8Array(64); #fill = 0; #length = 0; #w = new Int32Array(64);

  update(bytes) {
    this.#length += bytes.length;
    let at = 0;
    if (this.#fill) {
      at = Math.min(64 - this.#fill, bytes.length);
      this.#block.set(bytes.subarray(0, at), this.#fill);
      this.#fill += at;
      if (this.#fill < 64) return this;
      this.#mix(this.#block, 0);
      this.#fill = 0;
    }
    for (; at + 64 <= bytes.length; at += 64) this.#mix(bytes, at);
    this.#block.set(bytes.subarray(at), 0);
    this.#fill = bytes.length - at;
    return this;
  }

  /** The hash, 32 bytes; ends the use of this object. */
  digest() {
    const bits = this.#length * 8, tail = new Uint8Array((this.#fill < 56 ? 64 : 128) - this.#fill);
    tail[0] = 0x80;
    new DataView(tail.buffer).setUint32(tail.length - 8, Math.floor(bits / 2 ** 32));
    new DataView(tail.buffer).setUint32(tail.length - 4, bits >>> 0);
    this.update(tail);
    const digest = new Uint8Array(32), view = new DataView(digest.buffer);
    this.#state.forEach((word, i) => view.setInt32(4 * i, word));
    return digest;
  }

  hex() { return [...this.digest()].map(byte => byte.toString(16).padStart(2, '0')).join(''); }

  #mix(bytes, at) {
    const w = this.#w;
    for (let i = 0; i < 16; i++, at += 4) w[i] = bytes[at] << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3];
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15], y = w[i - 2];
      w[i] = (w[i - 16] + ((x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ x >>> 3)
        + w[i - 7] + ((y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ y >>> 10)) | 0;
    }
    // Not by destructuring, which goes through an iterator and takes as long as all the rest.
    const s = this.#state;
    let a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
    for (let i = 0; i < 64; i++) {
      const t1 = (h + ((e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7)) + (e & f ^ ~e & g) + K[i] + w[i]) | 0;
      const t2 = (((a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10)) + (a & b ^ a & c ^ b & c)) | 0;
      h = g; g = f; f = e; e = (d + t1) | 0; d = c; c = b; b = a; a = (t1 + t2) | 0;
    }
    s[0] += a; s[1] += b; s[2] += c; s[3] += d; s[4] += e; s[5] += f; s[6] += g; s[7] += h;
  }
}
