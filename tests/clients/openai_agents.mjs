/* Conversations by @openai/agents-realtime, which prints what it saw as JSON lines.
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

async function connected(config, tools = []) {
  const agent = new RealtimeAgent({ name: 'Assistant', instructions: 'Be brief.', tools });
  const transport = new OpenAIRealtimeWebSocket({ useInsecureApiKey: true }); // for browsers
  const session = new RealtimeSession(agent, { transport, config });
  session.on('error', ({ error }) => say({ error: error.error ?? error }));
  await session.connect({ apiKey: process.env.OPENAI_API_KEY, url });
  return session;
}

/** The arguments of the next of these events. */
const next = (session, name) =>
  new Promise((resolve) => session.once(name, (...values) => resolve(values)));

/** The text of the next answer. */
const answer = async (session) => (await next(session, 'agent_end'))[2];

/* A question, and one that a tool answers. */
async function text() {
  const session = await connected({ outputModalities: ['text'] }, [weather]);
  session.sendMessage('hello');
  say({ text: await answer(session) });
  const called = next(session, 'agent_tool_end');
  session.sendMessage('weather in Oslo?');
  const [, , , output, { toolCall }] = await called;
  say({ tool: JSON.parse(toolCall.arguments), output });
  say({ text: await answer(session) });
  session.close();
}

/* An answer that the program stops, and a question after it. */
async function interrupted() {
  const session = await connected({ audio: { input: { turnDetection: null } } });
  let wasInterrupted = false;
  session.on('audio_interrupted', () => { wasInterrupted = true; });
  session.sendMessage('something long');
  await next(session, 'audio');
  const ended = next(session, 'agent_end');
  session.interrupt();
  await ended;
  say({ interrupted: wasInterrupted });
  session.sendMessage('hello');
  say({ text: await answer(session) });
  session.close();
}

/* Spoken questions; the second answer is interrupted by the third question. */
async function spoken() {
  const turnDetection = { type: 'server_vad' };
  const session = await connected({ audio: { input: { turnDetection } } });
  const transcripts = [];
  let bytes = 0;
  let wasInterrupted = false;
  session.on('audio', ({ data }) => { bytes += data.byteLength; });
  session.on('audio_interrupted', () => { wasInterrupted = true; });
  session.on('transport_event', ({ type, transcript }) => {
    if (type.endsWith('input_audio_transcription.completed')) transcripts.push(transcript);
  });
  session.sendAudio(speech);
  const first = await answer(session);
  say({ heard: transcripts.join() });
  say({ audio: bytes });
  say({ text: first });
  session.sendAudio(speech);
  await next(session, 'audio');
  const ended = next(session, 'agent_end');
  session.sendAudio(speech);
  await ended;
  say({ interrupted: wasInterrupted });
  say({ text: await answer(session) });
  session.close();
}

await text();
await interrupted();
await spoken();
