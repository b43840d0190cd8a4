import { expect, test } from 'vitest'
import { stalePages } from '../../scripts/docs.ts'
import { fieldMeanings } from '../../scripts/json-fields.ts'
import { readSchemas, type Shape } from '../../scripts/json-schemas.ts'

test('the pages of docs/ that follow from the code are what `npm run docs` makes of it', () => {
  expect(stalePages()).toEqual([])
})

test('every field of a --json line has its meaning, and no other is told of', () => {
  const named = new Set<string>()
  const walk = ({ properties = {}, items, additionalProperties }: Shape): void => {
    for (const [name, shape] of Object.entries(properties)) {
      named.add(name)
      walk(shape)
    }
    if (items) walk(items)
    if (additionalProperties) walk(additionalProperties)
  }
  for (const { anyOf } of readSchemas().values()) for (const line of anyOf) walk(line)
  expect([...named].filter(name => fieldMeanings[name] === undefined)).toEqual([])
  expect(Object.keys(fieldMeanings).filter(name => !named.has(name))).toEqual([])
})
