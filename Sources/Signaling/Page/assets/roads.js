// One connection's signalling along two roads, the server and a data channel of the connection: docs/SIGNALING.md, "Two
// roads". What is said goes along each that is open; what comes counts once, in its order, whichever brings it first.
export const PROTOCOL = 'rtc-peer-signaling', LABEL = 'signaling';
const KEPT = 256, HELD = 64, LENGTH = 1 << 18, TOTAL = 1 << 20, RATE = 50, BURST = 400;
const TYPES = ['offer', 'answer', 'candidate'];
const isCount = value => Number.isSafeInteger(value) && value >= 0;
const isName = value => typeof value === 'string' && value.length > 0 && value.length <= 64;
const lengthOf = message => String(message.sdp ?? message.candidate?.candidate ?? '').length;

export class Roads {
  #toServer; #deliver; #stream; #last = 0; #kept = []; #peer = null; #channel = null; #isInStep = false;
  #tokens = BURST; #filledAt = 0;

  /** `toServer` sends along the server; `deliver` takes what the other side has said. */
  constructor(toServer, deliver) {
    this.#toServer = toServer;
    this.#deliver = deliver;
    this.#stream = [...crypto.getRandomValues(new Uint8Array(8))].map(byte => byte.toString(16).padStart(2, '0')).join('');
  }

  /** Whether the other side numbers its messages, and so knows the channel. */
  get isOrdered() { return this.#peer !== null; }
  get hasUnacknowledged() { return this.#kept.length > 0; }
  get hasChannel() { return this.#channel !== null; }

  send(message) {
    const waiting = {sequence: ++this.#last, message};
    this.#kept.push(waiting);
    while (this.#kept.length > KEPT || (this.#kept.length > 1 && this.#kept.reduce((sum, {message}) => sum + lengthOf(message), 0) > TOTAL)) {
      this.#kept.shift();
    }
    this.#toServer({...message, order: this.#order(waiting.sequence)});
    if (this.#isInStep) this.#write({...message, order: this.#order(waiting.sequence)});
  }

  /** Takes what came through the server; without an order it is of a peer, or came by a server, that knows none. */
  receive(message) {
    const order = message.order;
    if (!order || !isName(order.stream) || !isCount(order.seq) || !isCount(order.first)) return this.#deliver(message);
    // The server's road is in order: another numbering means that what was before is over.
    if (this.#peer?.stream !== order.stream) this.#begin(order);
    this.#take(message, order);
  }

  /** The server has forgotten what was said before. */
  serverForgot() {
    for (const {sequence, message} of this.#kept) this.#toServer({...message, order: this.#order(sequence)});
  }

  /** Uses a channel that was made here or by the other side; a second one is closed. */
  attach(channel) {
    if (this.#channel) return channel.close();
    this.#channel = channel;
    const open = () => {
      this.#filledAt = performance.now();
      this.#acknowledge();
    };
    channel.onopen = open;
    channel.onclose = () => { this.#isInStep = false; };
    channel.onmessage = ({data}) => this.#hear(data);
    if (channel.readyState === 'open') open();
  }

  #hear(data) {
    if (typeof data !== 'string') return;
    const now = performance.now();
    this.#tokens = Math.min(BURST, this.#tokens + (now - this.#filledAt) / 1000 * RATE) - 1;
    this.#filledAt = now;
    let message = null;
    if (this.#tokens >= 0 && data.length <= LENGTH) {
      try { message = JSON.parse(data); } catch { /* closed below */ }
    }
    const order = message?.order;
    if (message && typeof message.type === 'string' && message.type !== 'ack' && !TYPES.includes(message.type)) return;   // a newer peer's
    if (!order || !isName(order.stream) || !isCount(order.seq) || !isCount(order.first)) {
      this.#isInStep = false;
      return this.#channel.close();
    }
    if (!this.#peer) this.#begin(order);
    // Which numbering counts, the server tells.
    if (this.#peer.stream !== order.stream) return;
    this.#take(message.type === 'ack' ? null : message, order);
    if (this.#isInStep || this.#channel.readyState !== 'open') return;
    this.#isInStep = true;
    for (const {sequence, message} of this.#kept) this.#write({...message, order: this.#order(sequence)});
  }

  #begin(order) { this.#peer = {stream: order.stream, next: Math.max(1, order.first), held: new Map()}; }

  #take(message, order) {
    const peer = this.#peer, {held} = peer, ready = [];
    if (order.of === this.#stream && isCount(order.ack)) this.#kept = this.#kept.filter(({sequence}) => sequence > order.ack);
    const skip = number => {
      for (const sequence of [...held.keys()].filter(key => key < number).sort((a, b) => a - b)) {
        ready.push(held.get(sequence));
        held.delete(sequence);
      }
      peer.next = number;
    };
    const advance = () => {
      for (; held.has(peer.next); held.delete(peer.next++)) ready.push(held.get(peer.next));
    };
    if (order.first > peer.next) skip(order.first);
    if (message && order.seq >= peer.next && !held.has(order.seq)) held.set(order.seq, message);
    advance();
    // What is missing will not come: its sender has broken its word.
    while (held.size > HELD || (held.size && [...held.values()].reduce((sum, m) => sum + lengthOf(m), 0) > TOTAL)) {
      skip(Math.min(...held.keys()));
      advance();
    }
    if (message) this.#acknowledge();
    for (const each of ready) this.#deliver(each);
  }

  #acknowledge() { this.#write({type: 'ack', order: this.#order(0)}); }

  #order(seq) {
    const order = {stream: this.#stream, seq, first: this.#kept[0]?.sequence ?? this.#last + 1};
    if (this.#peer) Object.assign(order, {of: this.#peer.stream, ack: this.#peer.next - 1});
    return order;
  }

  #write(message) {
    if (this.#channel?.readyState !== 'open') return;
    // What a channel that is just closing does not take goes through the server.
    try { this.#channel.send(JSON.stringify(message)); } catch { /* kept */ }
  }
}
