// Files over data channels, one channel each: docs/SIGNALING.md, "Files".
import {SHA256} from './sha256.js';

export const PROTOCOL = 'rtc-peer-file';
const CHUNK = 64 * 1024, HIGH = 1024 * 1024, LOW = 256 * 1024;

const opened = channel => new Promise((done, failed) => {
  if (channel.readyState === 'open') return done();
  channel.onopen = () => done();
  channel.onclose = channel.onerror = () => failed(new Error('the connection closed'));
});

/** Sends a file; `progress` gets the share that is sent. */
export async function sendFile(connection, file, progress) {
  const channel = connection.createDataChannel('file:' + file.name.slice(0, 200), {protocol: PROTOCOL});
  channel.bufferedAmountLowThreshold = LOW;
  const answered = new Promise((done, failed) => {
    channel.onmessage = event => {
      const answer = JSON.parse(event.data);
      answer.error ? failed(new Error(answer.error)) : done(answer);
    };
    channel.addEventListener('close', () => failed(new Error('the connection closed')));
  });
  answered.catch(() => {});
  await opened(channel);
  channel.send(JSON.stringify({name: file.name, size: file.size, type: file.type || 'application/octet-stream'}));
  const hash = new SHA256();
  for (let at = 0; at < file.size; at += CHUNK) {
    const bytes = new Uint8Array(await file.slice(at, at + CHUNK).arrayBuffer());
    hash.update(bytes);
    if (channel.bufferedAmount > HIGH) await Promise.race([answered, new Promise(done => { channel.onbufferedamountlow = done; })]);
    if (channel.readyState !== 'open') await answered;
    channel.send(bytes);
    progress((at + bytes.length) / file.size);
  }
  const sha256 = hash.hex();
  channel.send(JSON.stringify({done: true, sha256}));
  const answer = await answered;
  channel.close();
  if (answer.sha256 !== sha256) throw new Error('it arrived altered');
  return {name: file.name, size: file.size, sha256};
}

/** Receives the file that comes on a channel; gives its name and a Blob. */
export function receiveFile(channel, progress) {
  channel.binaryType = 'arraybuffer';
  return new Promise((done, failed) => {
    const hash = new SHA256(), parts = [];
    let header = null, received = 0;
    const refuse = error => {
      if (channel.readyState === 'open') channel.send(JSON.stringify({error}));
      failed(new Error(error));
    };
    channel.onclose = () => failed(new Error('the connection closed'));
    channel.onmessage = ({data}) => {
      try {
        if (typeof data !== 'string') {
          if (!header) return refuse('the first message is not a file’s header');
          received += data.byteLength;
          if (received > header.size) return refuse('more bytes than announced');
          hash.update(new Uint8Array(data));
          parts.push(data);
          return progress(header.name, header.size ? received / header.size : 1);
        }
        const message = JSON.parse(data);
        if (!header) {
          if (typeof message.name !== 'string' || !(message.size >= 0)) return refuse('the first message is not a file’s header');
          header = message;
          return progress(header.name, 0);
        }
        const sha256 = hash.hex();
        if (received !== header.size) return refuse(`the file ended after ${received} of ${header.size} bytes`);
        if (message.sha256 && message.sha256 !== sha256) return refuse('SHA-256 differs');
        channel.send(JSON.stringify({received, sha256}));
        done({name: header.name, blob: new Blob(parts, {type: 'application/octet-stream'}), sha256});
      } catch (error) {
        refuse(String(error.message ?? error));
      }
    };
  });
}
