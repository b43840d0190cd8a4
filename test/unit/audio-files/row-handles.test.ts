import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { RowHandles } from '../../../src/audio-files/row-handles.ts'

describe('rows by what they may call their file', () => {
  test('finds each of many, over more than one chunk, and nothing else by a name that nobody has', () => {
    const handles = new RowHandles()
    const ids = Array.from({ length: 150_000 }, () => randomUUID())
    for (const [index, id] of ids.entries()) handles.add(`song ${index}.mp3`, id)
    for (const index of [0, 1, 65_535, 65_536, 131_071, 149_999])
      expect(handles.find(`song ${index}.mp3`, '')).toContain(ids[index])
    // Other names may look alike in 32 bits; a few of 150,000 do.
    const strangers = Array.from({ length: 1_000 }, (_, index) => handles.find(`none ${index}.mp3`, ''))
    expect(strangers.flat().length).toBeLessThan(10)
  })

  test('rows that share a name are all found', () => {
    const handles = new RowHandles()
    const ids = Array.from({ length: 200 }, () => randomUUID())
    for (const id of ids) handles.add('audio.mp3', id)
    expect(handles.find('audio.mp3', '').sort()).toEqual(ids.sort())
  })

  test('of a crowd with one name those that led to the file', () => {
    const handles = new RowHandles()
    const ids = Array.from({ length: 100_000 }, () => randomUUID())
    for (const [index, id] of ids.entries()) handles.add('audio.mp3', id, `1:${index}`)
    expect(handles.find('audio.mp3', '1:777')).toContain(ids[777])
    expect(handles.find('audio.mp3', '1:777').length).toBeLessThan(10)
  })
})
