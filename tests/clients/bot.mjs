// A bot that lives on neod's session, in Node: it follows the watch.
import http from 'node:http'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

const socketPath = process.env.NEOD_SOCKET ?? `/run/user/${process.getuid()}/neod/neod.sock`
const account = process.env.NEOD_ACCOUNT ?? 'main'

let session = { generation: 0, expires_at: 0 } // the newest that neod told of
let dead = 0 // the generation that the broker refused

/** The reply to one request, as text, piece by piece. Throws where neod is silent for `timeout`. */
async function* ask(method, path, timeout, body) {
  const response = await new Promise((resolve, reject) => {
    const request = http.request({ socketPath, method, path, timeout, agent: false }, resolve)
    request.on('timeout', () => request.destroy(new Error('neod is silent')))
    request.on('error', reject)
    request.end(body)
  })
  yield* response.setEncoding('utf8')
}

/** Follow rotations, and neod's own restarts. */
async function follow() {
  for (;;) {
    try {
      // With the generation that we have, we are told only of what we missed. A heartbeat comes
      // every 15 seconds.
      const path = `/v1/watch?account=${account}&after=${session.generation}`
      let rest = ''
      for await (const piece of ask('GET', path, 45_000)) {
        const lines = (rest + piece).split('\n')
        rest = lines.pop()
        lines.forEach((line) => take(JSON.parse(line)))
      }
    } catch {
      // neod is not there, or went away: as good as the end of the watch
    }
    console.log('waiting')
    await sleep(1000)
  }
}

function take(told) {
  if (told.event === 'session') {
    session = told.session
    console.log(`session ${session.generation}, ${session.token.length} bytes of token`)
  } else if (told.event === 'expired') {
    dead = told.generation
  }
}

/** The broker refused our session, and `evidence` is what it said. */
async function reject(evidence) {
  const { generation } = session
  let answer = ''
  try {
    const body = JSON.stringify({ account, generation, evidence })
    for await (const piece of ask('POST', '/v1/reject', 70_000, body)) answer += piece
    answer = JSON.parse(answer)
  } catch {
    answer = { code: 'unheard' }
  }
  const outcome = answer.outcome ?? answer.code
  console.log(`rejected ${generation} ${outcome}`)
  if (['renewed', 'newer', 'deferred'].includes(outcome)) dead = generation // never again with it
  else await sleep(1000) // it is served on: no hurry
}

follow()
// A real bot calls the broker here, with session.headers. For this one a line on stdin is what the
// broker answered to one call.
for await (const answer of createInterface({ input: process.stdin })) {
  const usable = session.generation !== dead && Date.now() / 1000 < session.expires_at
  if (!usable) console.log('waiting')
  else if (['401', '100022'].includes(answer)) await reject(answer)
}
process.exit()
