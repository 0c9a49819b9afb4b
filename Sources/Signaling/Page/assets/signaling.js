// The page's end of the signalling: docs/SIGNALING.md. Joins a room, resumes its place after a broken connection,
// repeats what the server has not got. Events: joined, peer, left, message, words, ended.
export class Signaling extends EventTarget {
  #room; #name; #socket; #token = null; #sent = []; #sequence = 0; #received = 0; #attempts = 0;
  #heartbeat; #lastHeard = 0; #isOver = false; #timer;

  constructor(room, name) {
    super();
    this.#room = room;
    this.#name = name;
    // What a reload leaves behind, so that the others learn at once that the old page is gone.
    this.replaces = sessionStorage.getItem('place ' + room);
    sessionStorage.removeItem('place ' + room);
    addEventListener('online', () => this.#retryNow());
  }

  open() {
    clearTimeout(this.#timer);
    const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`);
    this.#socket = socket;
    socket.onopen = () => {
      this.#lastHeard = performance.now();
      const join = {type: 'join', room: this.#room, name: this.#name};
      if (this.#token) Object.assign(join, {token: this.#token, ack: this.#received});
      else if (this.replaces) join.replaces = this.replaces;
      socket.send(JSON.stringify(join));
    };
    socket.onmessage = event => { if (socket === this.#socket) this.#receive(event.data); };
    socket.onclose = () => { if (socket === this.#socket) this.#lost(); };
  }

  /** Sends a message to one peer; it waits while the connection is broken. */
  send(message, to) {
    const numbered = {...message, to, seq: ++this.#sequence};
    this.#sent.push(numbered);
    if (this.#sent.length > 500) this.#sent.shift();
    this.#write(numbered);
  }

  /** Asks for a sign of life; without one for two seconds, the connection is made anew. */
  check() {
    const socket = this.#socket, before = this.#lastHeard;
    if (socket?.readyState !== WebSocket.OPEN) return this.#retryNow();
    this.#write({type: 'ping', ack: this.#received});
    setTimeout(() => {
      if (socket !== this.#socket || this.#lastHeard !== before || this.#isOver) return;
      // A dead connection's close would wait for its answer.
      socket.onclose = null;
      socket.close();
      this.#lost();
    }, 2000);
  }

  /** Leaves the room for good. */
  leave() {
    this.#isOver = true;
    clearInterval(this.#heartbeat);
    clearTimeout(this.#timer);
    this.#write({type: 'bye'});
    this.#socket?.close(1000, 'bye');
    sessionStorage.removeItem('place ' + this.#room);
  }

  /** The page goes away: its place is given up by the page that comes next, if one comes. */
  remember() { if (this.#token && !this.#isOver) sessionStorage.setItem('place ' + this.#room, this.#token); }

  #write(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #tell(name, detail) { this.dispatchEvent(new CustomEvent(name, {detail})); }

  #receive(text) {
    let message;
    try { message = JSON.parse(text); } catch { return; }
    this.#lastHeard = performance.now();
    if (Number.isInteger(message.seq)) {
      if (message.seq <= this.#received) return;     // repeated after a resume
      this.#received = message.seq;
    }
    switch (message.type) {
      case 'joined': return this.#joined(message);
      case 'peer-joined': return this.#tell('peer', {id: message.peer, name: message.name, polite: message.polite});
      case 'ice-servers': return this.#tell('servers', message.iceServers ?? []);
      case 'peer-left': return this.#tell('left', {id: message.peer, reason: message.reason});
      case 'offer': case 'answer': case 'candidate': case 'pake': case 'bye':
        return this.#tell('message', {from: message.from, message});
      case 'ping': return this.#write({type: 'pong', ack: this.#received});
      case 'pong': return this.#forget(message.ack);
      case 'error':
        if (message.code === 'unknown-peer') return;      // who is away comes again, or does not
        this.#tell('words', message.message);
        if (message.fatal && !['timed-out', 'too-slow', 'server-stopping'].includes(message.code)) {
          this.#isOver = true;
          this.#tell('ended', message.message);
        }
    }
  }

  #joined(message) {
    this.#attempts = 0;
    this.#token = message.token;
    this.replaces = null;
    clearInterval(this.#heartbeat);
    const interval = message.heartbeat ?? 5000;
    this.#heartbeat = setInterval(() => {
      if (performance.now() - this.#lastHeard > 3 * interval) return this.#socket.close();
      this.#write({type: 'ping', ack: this.#received});
    }, interval);
    if (message.resumed) {
      this.#forget(message.ack);
      for (const waiting of this.#sent) this.#write(waiting);
    } else {
      this.#sent = [];
      this.#sequence = 0;
      this.#received = 0;
    }
    this.#tell('joined', {...message, peers: message.peers.map(p => ({id: p.peer, name: p.name, polite: p.polite}))});
  }

  #forget(ack) { if (Number.isInteger(ack)) this.#sent = this.#sent.filter(m => m.seq > ack); }

  #lost() {
    clearInterval(this.#heartbeat);
    if (this.#isOver) return;
    this.#tell('words', 'The signalling server does not answer; trying again …');
    const delay = Math.min(10000, 300 * 2 ** this.#attempts++) * (0.7 + 0.6 * Math.random());
    this.#timer = setTimeout(() => this.open(), delay);
  }

  #retryNow() {
    if (this.#isOver || this.#socket?.readyState !== WebSocket.CLOSED) return;
    this.#attempts = 0;
    this.open();
  }
}
