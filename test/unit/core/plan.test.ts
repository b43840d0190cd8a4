import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  canonicalJson,
  type PlanAction,
  type PlanHeader,
  type PlanItem,
  PlanWriter,
  readPlan,
  refuseIfExpired,
  stakeOf,
} from '../../../src/core/plan.ts'

const header: PlanHeader = {
  type: 'autodj-plan',
  schema: 1,
  id: 'p1',
  command: 'reconcile',
  createdAt: '2026-01-01T00:00:00.000Z',
  expiresAt: '2026-01-08T00:00:00.000Z',
  bucket: 'b',
  quarantine: { by: 'prefix', prefix: 'quarantine/' },
  seen: { rows: 3, objects: 4 },
}
const text = fc.string({ unit: 'binary', maxLength: 8 })
const action: fc.Arbitrary<PlanAction> = fc.oneof(
  fc.record({
    action: fc.constant('remove-object' as const),
    object: fc.record({ key: text, size: fc.nat(), etag: text }),
    to: fc.option(text, { nil: undefined }),
  }),
  fc.record({
    action: fc.constant('update-row' as const),
    trackId: fc.uuid(),
    was: fc.record({
      key: fc.option(text),
      source: fc.constantFrom('S3', 'LOCAL', null),
      size: fc.option(fc.nat()),
      path: fc.option(text),
    }),
    becomes: fc.constant({ key: null, source: 'LOCAL' as const, size: 1, path: 'x' }),
  }),
)

function write(actions: readonly PlanAction[]): string[] {
  const writer = new PlanWriter()
  return [writer.header(header), ...actions.map(item => writer.item(item, 'why')), writer.trailer()]
}

async function read(lines: readonly string[]): Promise<{ header?: PlanHeader; items: PlanItem[] }> {
  async function* source(): AsyncGenerator<string> {
    yield* lines
  }
  const result: { header?: PlanHeader; items: PlanItem[] } = { items: [] }
  for await (const part of readPlan(source())) {
    if ('header' in part) result.header = part.header
    else result.items.push(part.item)
  }
  return result
}

describe('plan', () => {
  it('reads back what was written', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action), async actions => {
        const result = await read(write(actions))
        expect(result.header).toEqual(header)
        const expected = actions.map((item, index) => ({ ...item, type: 'item', seq: index + 1, why: 'why' }))
        expect(result.items).toEqual(JSON.parse(JSON.stringify(expected)))
      }),
    )
  })

  it('survives other white space, member order and line endings', async () => {
    const lines = write([{ action: 'remove-object', object: { key: 'k', size: 1, etag: 'e' } }])
    const rewritten = lines.map(line => {
      const entries = Object.entries(JSON.parse(line) as object).reverse()
      return `${JSON.stringify(Object.fromEntries(entries)).replaceAll(',"', ' ,\t"')}\r\n`
    })
    for (const at of [rewritten.length, 1, 0]) rewritten.splice(at, 0, ' \t\r\n')
    expect(await read(rewritten)).toEqual(await read(lines))
  })

  it('is refused when any line is changed, dropped, doubled or swapped', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(action, { minLength: 2, maxLength: 6 }),
        fc.constantFrom('drop', 'double', 'swap', 'change', 'cut'),
        fc.nat(),
        async (actions, how, at) => {
          const lines = write(actions)
          const index = at % (lines.length - 1)
          const line = lines[index]!
          if (how === 'drop') lines.splice(index, 1)
          if (how === 'double') lines.splice(index, 0, line)
          if (how === 'cut') lines.length = index + 1
          if (how === 'swap') [lines[index], lines[index + 1]] = [lines[index + 1]!, line]
          if (how === 'change')
            lines[index] = `${canonicalJson({ ...(JSON.parse(line) as object), extra: 1 })}\n`
          await expect(read(lines)).rejects.toMatchObject({ code: 'plan.damaged', exitCode: 1 })
        },
      ),
    )
  })

  it('says which item is out of place, before it is acted upon', async () => {
    const remove: PlanAction = { action: 'remove-object', object: { key: 'k', size: 1, etag: 'e' } }
    const [head, one, two, end] = write([remove, remove]) as [string, string, string, string]
    for (const [lines, message] of [
      [[head, two, end], 'item 1 is out of place'],
      [[head, one, one, end], 'item 2 is out of place'],
      [[head, one, head, two, end], 'item 2 is out of place'],
      [[head, one.replace('"item"', '"row"'), two, end], 'item 1 is out of place'],
      [[head, one, two, end, two], 'something follows its end'],
      [[one, two, end], 'it does not start like a plan'],
    ] as const)
      await expect(read(lines)).rejects.toThrow(message)
  })

  it('is refused by another version of the program, and for an action nobody knows', async () => {
    const [, ...rest] = write([])
    await expect(read([JSON.stringify({ ...header, schema: 2 }), ...rest])).rejects.toMatchObject({
      code: 'plan.schema',
    })
    const odd = write([{ action: 'remove-everything' } as unknown as PlanAction])
    await expect(read(odd)).rejects.toMatchObject({ code: 'plan.damaged' })
  })

  it('is refused when its end counts other items than came, or one of its lines is no object', async () => {
    const lines = write([{ action: 'remove-object', object: { key: 'k', size: 1, etag: 'e' } }])
    const trailer = JSON.parse(lines.at(-1) as string) as object
    const otherEnd = [...lines.slice(0, -1), `${JSON.stringify({ ...trailer, items: 2 })}\n`]
    await expect(read(otherEnd)).rejects.toThrow('its digest does not match')
    for (const odd of ['[]', 'null', '1', '"x"', '{'])
      await expect(read([lines[0] as string, `${odd}\n`])).rejects.toThrow(
        'one of its lines is not a JSON object',
      )
  })

  it('counts what goes: objects, and rows that are left without audio', () => {
    const row = (from: 'S3' | 'UNAVAILABLE', to: 'LOCAL' | 'UNAVAILABLE'): PlanAction => ({
      action: 'update-row',
      trackId: '0b4c8d1e-5f60-4a7b-8c9d-0e1f2a3b4c5d',
      was: { key: 'k', source: from, size: 1, path: null },
      becomes: { key: null, source: to, size: 1, path: null },
    })
    expect(stakeOf({ action: 'remove-object', object: { key: 'k', size: 1, etag: 'e' } })).toBe('removal')
    expect(stakeOf(row('S3', 'UNAVAILABLE'))).toBe('loss')
    expect(stakeOf(row('UNAVAILABLE', 'UNAVAILABLE'))).toBeUndefined()
    expect(stakeOf(row('S3', 'LOCAL'))).toBeUndefined()
    expect(stakeOf({ action: 'bring-back-object', object: { key: 'k', size: 1, etag: 'e' } })).toBeUndefined()
  })

  it('expires', () => {
    const end = Date.parse(header.expiresAt)
    expect(() => refuseIfExpired(header, end)).not.toThrow()
    expect(() => refuseIfExpired(header, end + 1)).toThrow(expect.objectContaining({ exitCode: 7 }))
  })
})

describe('canonicalJson', () => {
  it('is as RFC 8785 has it', () => {
    // Its example of names, 3.2.3: sorted by UTF-16 units.
    const names = ['€', '\r', '\ufb33', '1', '\u{1f600}', '\u0080', 'ö']
    const sorted = ['\r', '1', '\u0080', 'ö', '€', '\u{1f600}', '\ufb33']
    const text = canonicalJson(Object.fromEntries(names.map(name => [name, [null, undefined, 1.5]])))
    expect(text).toBe(`{${sorted.map(name => `${JSON.stringify(name)}:[null,null,1.5]`).join(',')}}`)
    expect(canonicalJson({ b: undefined, a: { d: true, c: '' } })).toBe('{"a":{"c":"","d":true}}')
  })

  it('is JSON, and the same for any order of members', () => {
    fc.assert(
      fc.property(fc.dictionary(text, fc.jsonValue()), value => {
        const shuffled = Object.fromEntries(Object.entries(value).reverse())
        expect(canonicalJson(shuffled)).toBe(canonicalJson(value))
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })
})
