// Live graphs of one connection: received and sent bits a second, round-trip time, loss, frames a second.
const LENGTH = 60;
const KINDS = [
  ['down', 'Received', v => `${v.toFixed(0)} kbit/s`], ['up', 'Sent', v => `${v.toFixed(0)} kbit/s`],
  ['rtt', 'Round trip', v => `${v.toFixed(1)} ms`], ['loss', 'Lost', v => `${v.toFixed(1)} %`],
  ['fps', 'Frames', v => `${v.toFixed(0)} a second`],
];

export class Graphs {
  #rows = {}; #before = null;

  constructor(list) {
    for (const [key, name, words] of KINDS) {
      const row = document.createElement('div');
      row.className = 'graph';
      row.innerHTML = `<span></span><b>–</b><svg viewBox="0 0 ${LENGTH - 1} 100" preserveAspectRatio="none" aria-hidden="true"><path/></svg>`;
      row.firstChild.textContent = name;
      list.append(row);
      this.#rows[key] = {values: [], words, output: row.querySelector('b'), path: row.querySelector('path')};
    }
  }

  /** Takes the connections' counters; call once a second. */
  async update(connections) {
    const now = {at: performance.now(), received: 0, sent: 0, packets: 0, lost: 0, frames: 0, rtt: null};
    for (const connection of connections) {
      for (const s of (await connection.getStats()).values()) {
        if (s.type === 'candidate-pair' && s.nominated && s.state === 'succeeded') now.rtt = (s.currentRoundTripTime ?? 0) * 1000;
        if (s.type === 'inbound-rtp') {
          now.received += s.bytesReceived ?? 0;
          now.packets += s.packetsReceived ?? 0;
          now.lost += Math.max(0, s.packetsLost ?? 0);
          if (s.kind === 'video') now.frames += s.framesDecoded ?? 0;
        }
        if (s.type === 'outbound-rtp') now.sent += s.bytesSent ?? 0;
      }
    }
    const before = this.#before;
    this.#before = now;
    if (!before) return;
    const seconds = (now.at - before.at) / 1000, packets = now.packets - before.packets, lost = now.lost - before.lost;
    this.#add('down', (now.received - before.received) * 8 / 1000 / seconds);
    this.#add('up', (now.sent - before.sent) * 8 / 1000 / seconds);
    if (now.rtt !== null) this.#add('rtt', now.rtt);
    this.#add('loss', packets + lost > 0 ? 100 * lost / (packets + lost) : 0);
    this.#add('fps', (now.frames - before.frames) / seconds);
  }

  #add(key, value) {
    const row = this.#rows[key];
    value = Math.max(0, value);
    row.values.push(value);
    if (row.values.length > LENGTH) row.values.shift();
    const top = Math.max(...row.values, 1e-9) * 1.1, start = LENGTH - row.values.length;
    row.path.setAttribute('d', row.values.map((v, i) => `${i ? 'L' : 'M'}${start + i},${100 - 95 * v / top}`).join(''));
    row.output.textContent = row.words(value);
  }
}
