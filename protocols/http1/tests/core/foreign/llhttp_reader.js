// Reads messages with llhttp, the parser inside of Node. One line in: `client HEX` or `server ASKED,ASKED HEX`, with `closed`
// behind it where the sender closes; one line out: what was read, event by event, in the words of ../foreign.rs.
'use strict';

// Not meant for others, and there all the same; what Node offers instead would answer for us.
const { HTTPParser, allMethods, methods } = process.binding('http_parser');
const names = allMethods || methods;

// The bounds are ours: llhttp is asked what a message means, not how long it may be.
const LIMIT = 1 << 24;

const hex = (text) => Buffer.from(text, 'latin1').toString('hex');

function lines(word, headers) {
  const all = [];
  for (let at = 0; at < headers.length; at += 2) all.push(`${word} ${hex(headers[at])} ${hex(headers[at + 1])}`);
  return all;
}

function read(kind, asked, data, closed) {
  const events = [];
  let early = [];
  let url = '';
  let interim = false;
  let beyond = false;
  const parser = new HTTPParser();
  parser.initialize(kind, {}, LIMIT, HTTPParser.kLenientNone);
  parser[HTTPParser.kOnMessageBegin | 0] = () => { early = []; url = ''; };
  // Headers that do not fit into one call, and trailers.
  parser[HTTPParser.kOnHeaders | 0] = (headers, more) => { early.push(...headers); url += more; };
  parser[HTTPParser.kOnHeadersComplete | 0] = (major, minor, headers, method, target, status) => {
    const version = `${major}.${minor}`;
    const all = headers === undefined ? early : headers;
    early = [];
    if (kind === HTTPParser.REQUEST) {
      events.push(`request ${hex(names[method])} ${hex(target === undefined ? url : target)} ${version}`);
    } else {
      events.push(`response ${status} ${version}`);
    }
    events.push(...lines('field', all));
    if (kind === HTTPParser.REQUEST) return 0;
    interim = status < 200;
    if (interim && status !== 101) return 1;
    const what = asked.shift();
    beyond = status === 101 && what === 'upgrade';
    if (beyond) return 2;
    return what === 'head' ? 1 : 0;
  };
  parser[HTTPParser.kOnBody | 0] = (body) => { events.push(`data ${Buffer.from(body).toString('hex')}`); };
  parser[HTTPParser.kOnMessageComplete | 0] = () => {
    if (kind === HTTPParser.RESPONSE && interim) return;
    events.push(...lines('trailer', early), 'end');
    early = [];
  };
  const result = parser.execute(data, 0, data.length);
  if (result instanceof Error) return [...events, `refused ${result.code} ${result.reason}`];
  if (beyond && result < data.length) events.push(`tunnel ${data.subarray(result).toString('hex')}`);
  else if (result < data.length) events.push(`unread ${data.length - result}`);
  if (closed) {
    const end = parser.finish();
    if (end instanceof Error) return [...events, `refused ${end.code} ${end.reason}`];
  }
  return events;
}

require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const words = line.split(' ');
  const closed = words[words.length - 1] === 'closed';
  const server = words[0] === 'server';
  const data = Buffer.from(words[server ? 2 : 1], 'hex');
  const kind = server ? HTTPParser.RESPONSE : HTTPParser.REQUEST;
  console.log(read(kind, server ? words[1].split(',') : [], data, closed).join('\t'));
});
