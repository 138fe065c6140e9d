/* Conversations by @openai/agents-realtime, which prints what it receives as JSON lines.
   Arguments: the URL of the server, and a file of speech followed by silence (PCM16, 24 kHz). */

import { readFileSync } from 'node:fs';
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime';
import { z } from 'zod';

const [url, file] = process.argv.slice(2);
const speech = Uint8Array.from(readFileSync(file)).buffer;
const say = (seen) => console.log(JSON.stringify(seen));
const weather = tool({
  name: 'weather',
  description: 'The weather in a city.',
  parameters: z.object({ city: z.string() }),
  execute: ({ city }) => `sunny in ${city}`,
});
const NAMES = ['agent_end', 'agent_tool_end', 'audio', 'audio_interrupted', 'transport_event'];

/* A session, and a queue of its events in order. */
async function connected(config, tools = []) {
  const agent = new RealtimeAgent({ name: 'Assistant', instructions: 'Be brief.', tools });
  const transport = new OpenAIRealtimeWebSocket({ useInsecureApiKey: true }); // for browsers
  const session = new RealtimeSession(agent, { transport, config });
  const seen = [];
  let wake = () => {};
  for (const name of NAMES) {
    session.on(name, (...values) => { seen.push({ name, values }); wake(); });
  }
  session.on('error', ({ error }) => say({ error: error.error ?? error }));

  /* The events up to the first of a name. */
  async function until(name) {
    for (;;) {
      const last = seen.findIndex((event) => event.name === name);
      if (last >= 0) return seen.splice(0, last + 1);
      await new Promise((resolve) => { wake = resolve; });
    }
  }

  await session.connect({ apiKey: process.env.OPENAI_API_KEY, url });
  return { session, until };
}

const textOf = (events) => events.at(-1).values[2];
const wasInterrupted = (events) => events.some(({ name }) => name === 'audio_interrupted');

/* A question, and one that a tool answers. */
async function text() {
  const { session, until } = await connected({ outputModalities: ['text'] }, [weather]);
  session.sendMessage('hello');
  say({ text: textOf(await until('agent_end')) });
  session.sendMessage('weather in Oslo?');
  const [, , , output, { toolCall }] = (await until('agent_tool_end')).at(-1).values;
  say({ tool: JSON.parse(toolCall.arguments), output });
  /* The turn that called the tool has no text. It may end before or after the tool does. */
  let answer = '';
  while (!answer) answer = textOf(await until('agent_end'));
  say({ text: answer });
  session.close();
}

/* An answer that the program stops, and a question after it. */
async function interrupted() {
  const { session, until } = await connected({ audio: { input: { turnDetection: null } } });
  session.sendMessage('something long');
  await until('audio');
  session.interrupt();
  say({ interrupted: wasInterrupted(await until('agent_end')) });
  session.sendMessage('hello');
  say({ text: textOf(await until('agent_end')) });
  session.close();
}

/* Spoken questions; the second answer is interrupted by the third question. */
async function spoken() {
  const turnDetection = { type: 'server_vad' };
  const { session, until } = await connected({ audio: { input: { turnDetection } } });
  session.sendAudio(speech);
  const events = await until('agent_end');
  const received = (name) => events.filter((event) => event.name === name).map(({ values }) => values[0]);
  const heard = received('transport_event').filter(({ type }) => type.endsWith('transcription.completed'));
  say({ heard: heard.map(({ transcript }) => transcript).join() });
  say({ audio: received('audio').reduce((sum, { data }) => sum + data.byteLength, 0) });
  say({ text: textOf(events) });
  session.sendAudio(speech);
  await until('audio');
  session.sendAudio(speech);
  say({ interrupted: wasInterrupted(await until('agent_end')) });
  say({ text: textOf(await until('agent_end')) });
  session.close();
}

await text();
await interrupted();
await spoken();
