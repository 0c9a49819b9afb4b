// The peer of channel_echo.py in a browser: it sends back every message, and does what the lines given to take() say;
// what it answers is collected in `lines`. channels.py has it on a page with nothing else.
window.echoPeer = new (class {
  lines = [];
  #connection = new RTCPeerConnection();
  #channels = new Set();
  #received = new Map();
  #last = Promise.resolve();

  constructor() {
    this.#connection.ondatachannel = ({channel}) => this.#adopt(channel);
  }

  /** What there is to see when the other side waits in vain. */
  get state() {
    return {connection: this.#connection.connectionState, sctp: this.#connection.sctp?.state,
            channels: [...this.#channels].map(({id, label, readyState, bufferedAmount}) =>
                ({id, label, readyState, bufferedAmount, received: this.#received.get(label)?.length}))};
  }

  /** Makes and gives the offer, if this side is the one to. */
  start(role) {
    if (role === 'offer') {
      this.#connection.createDataChannel('first').onmessage = ({data, target}) => target.send(data);
      this.#run(() => this.#describe());
    }
  }

  /** Does what a line says, once the one before it is done. */
  take(line) {
    const tab = line.indexOf('\t');
    this.#run(() => this.#obey(line.slice(0, tab), line.slice(tab + 1).replaceAll('\x01', '\r\n')));
  }

  #run(action) {
    this.#last = this.#last.then(action).catch(error => this.#put('error', `${error}`));
  }

  #put(kind, text = '') {
    this.lines.push(`${kind}\t${text.replaceAll('\r', '').replaceAll('\n', '\x01')}`);
  }

  async #obey(kind, text) {
    switch (kind) {
      case 'offer':
      case 'answer':
        await this.#connection.setRemoteDescription({type: kind, sdp: text});
        if (kind === 'offer') await this.#describe();
        break;
      case 'open':
        this.#put('opened', JSON.stringify(this.#description(await this.#open(JSON.parse(text)))));
        break;
      case 'burst': {
        const [members, count] = JSON.parse(text), channel = await this.#open(members);
        for (let number = 0; number < count; number++) channel.send(this.#burstMessage(number));
        const description = this.#description(channel);
        channel.close();
        this.#put('opened', JSON.stringify(description));
        break;
      }
      case 'received':
        this.#put('received', JSON.stringify(this.#received.get(JSON.parse(text)) ?? []));
        break;
      case 'close':
        for (const channel of [...this.#channels].filter(channel => JSON.parse(text).includes(channel.id))) channel.close();
        this.#put('closing', 'null');
        break;
      case 'await':
        await this.#until(() => this.#channels.size === JSON.parse(text)
            && [...this.#channels].every(channel => channel.readyState === 'open'));
        this.#put('channels', JSON.stringify([...this.#channels].map(this.#description)));
        break;
      case 'done':
        this.#put('done');
        break;
      default:
        throw new Error(`no such command: ${kind}`);
    }
  }

  /** Gives the local description, complete with candidates. */
  async #describe() {
    await this.#connection.setLocalDescription();
    await this.#until(() => this.#connection.iceGatheringState === 'complete');
    const {type, sdp} = this.#connection.localDescription;
    this.#put(type, sdp);
  }

  async #open({label, ...members}) {
    const options = Object.fromEntries(Object.entries(members).filter(([, value]) => value !== null));
    const channel = this.#connection.createDataChannel(label, options);
    this.#adopt(channel);
    const isOpen = new Promise(done => channel.addEventListener('open', () => {
      // What comes with the OPEN, before the other side can have answered it.
      if (!channel.negotiated && !label.startsWith('burst')) channel.send(label);
      done();
    }));
    await isOpen;
    return channel;
  }

  #adopt(channel) {
    channel.binaryType = 'arraybuffer';
    channel.onmessage = ({data}) => channel.label.startsWith('burst') ? this.#note(channel, data) : channel.send(data);
    if (channel.label === 'first') return;
    this.#channels.add(channel);
    channel.onclose = () => this.#channels.delete(channel);
  }

  /** Remembers the number of a burst's message, or -1 if it is not as it was sent. */
  #note({label}, data) {
    const number = parseInt(data);
    if (!this.#received.has(label)) this.#received.set(label, []);
    this.#received.get(label).push(data === this.#burstMessage(number) ? number : -1);
  }

  #burstMessage(number) {
    return `${number} ${'x'.repeat(number * 97 % 3000)}`;
  }

  #description({label, protocol, ordered, maxRetransmits, maxPacketLifeTime, negotiated, id, priority}) {
    // Members that the browser does not have are left out.
    return {label, protocol, ordered, maxRetransmits, maxPacketLifeTime, negotiated, id, priority};
  }

  /** Until the condition holds, or has not for long. */
  async #until(condition) {
    for (const end = performance.now() + 10_000; !condition() && performance.now() < end;) {
      await new Promise(done => setTimeout(done, 5));
    }
  }
})();
