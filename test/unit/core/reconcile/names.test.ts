import { describe, expect, test } from 'vitest'
import {
  formOf,
  isStrayAudio,
  keyReadings,
  otherBucket,
  plainKey,
  twinKind,
} from '../../../../src/core/reconcile/names.ts'

describe('a key as the bucket has it', () => {
  const place = { bucket: 'music', prefix: 'audio/' }
  test.each([
    ['audio/A/b.mp3', 'audio/A/b.mp3'],
    ['A/b.mp3', 'audio/A/b.mp3'],
    ['/audio/A/b.mp3', 'audio/A/b.mp3'],
    ['//A/b.mp3', 'audio/A/b.mp3'],
    ['s3://music/audio/A/b.mp3', 'audio/A/b.mp3'],
    ['S3://music/A/b.mp3', 'audio/A/b.mp3'],
    // s3:// names the key as it is.
    ['s3://music/audio/100%25?.mp3', 'audio/100%25?.mp3'],
    ['s3://other/audio/A/b.mp3', 's3://other/audio/A/b.mp3'],
    ['https://music.s3.eu-central-1.amazonaws.com/audio/A/b.mp3', 'audio/A/b.mp3'],
    ['https://s3.eu-central-1.amazonaws.com/music/audio/A/b.mp3', 'audio/A/b.mp3'],
    ['HTTPS://CDN.example.com/audio/A/b.mp3', 'audio/A/b.mp3'],
    ['http://localhost:9000/music/audio/A/b.mp3', 'audio/A/b.mp3'],
    ['https://cdn.example.com/A/b.mp3', 'audio/A/b.mp3'],
    ['https://cdn.example.com/musical/b.mp3', 'audio/musical/b.mp3'],
    ['https://cdn.example.com/audio/A%20%C3%A9/b%3F.mp3', 'audio/A é/b?.mp3'],
    ['https://cdn.example.com/audio/A/b.mp3?X-Amz-Signature=1#t=3\n', 'audio/A/b.mp3'],
    ['https://cdn.example.com/audio/A/b.mp3#t=3?', 'audio/A/b.mp3'],
    // What cannot be decoded is what it is.
    ['https://cdn.example.com/audio/100%.mp3', 'audio/100%.mp3'],
    ['https://cdn.example.com/', 'audio/https://cdn.example.com/'],
    ['ftp://cdn.example.com/audio/x.mp3', 'audio/ftp://cdn.example.com/audio/x.mp3'],
    ['x https://cdn.example.com/x.mp3', 'audio/x https://cdn.example.com/x.mp3'],
  ])('%j is %j', (key, plain) => {
    expect(plainKey(key, place)).toBe(plain)
  })

  test.each([
    ['A/b.mp3', 'A/b.mp3'],
    ['/A/b.mp3', 'A/b.mp3'],
    ['s3://music/A/b.mp3', 'A/b.mp3'],
    ['s3://other/A/b.mp3', 's3://other/A/b.mp3'],
    ['https://cdn.example.com/A/b.mp3', 'A/b.mp3'],
  ])('%j is %j where keys have no prefix', (key, plain) => {
    expect(plainKey(key, { bucket: 'music', prefix: '' })).toBe(plain)
  })
})

describe('keyReadings', () => {
  const place = { bucket: 'music', prefix: 'audio/' }
  test.each([
    // The application makes URLs without encoding anything.
    ['https://cdn.example.com/audio/A/What? #1 100%.mp3', 'audio/A/What? #1 100%.mp3'],
    ['https://cdn.example.com/audio/A/a%20b.mp3', 'audio/A/a%20b.mp3'],
    ['https://cdn.example.com/audio/A/a%20b.mp3', 'audio/A/a b.mp3'],
    ['audio/%C3%84/b.mp3', 'audio/Ä/b.mp3'],
    ['s3://music/audio/%C3%84/b.mp3', 'audio/Ä/b.mp3'],
    ['s3a://music/audio/A/b.mp3', 'audio/A/b.mp3'],
    ['arn:aws:s3:::music/audio/A/b.mp3', 'audio/A/b.mp3'],
    ['//cdn.example.com/audio/A/b.mp3', 'audio/A/b.mp3'],
    ['cdn.example.com/audio/A/b.mp3', 'audio/A/b.mp3'],
    ['music/audio/A/b.mp3', 'audio/A/b.mp3'],
    ['/music/A/b.mp3', 'audio/A/b.mp3'],
    [' audio/A/b.mp3\n', 'audio/A/b.mp3'],
    ['audio\\A\\b.mp3', 'audio/A/b.mp3'],
    ['audio/A/b.mp3?v=1', 'audio/A/b.mp3'],
    ['audio/../audio/./A//b.mp3', 'audio/A/b.mp3'],
    ['audio//A/b.mp3', 'audio/A/b.mp3'],
    // As a path of Python's or Node's says it.
    ['s3:/music/audio/A/b.mp3', 'audio/A/b.mp3'],
    ['https:/cdn.example.com/audio/A/b.mp3', 'audio/A/b.mp3'],
  ])('%j may be %j', (key, reading) => {
    const readings = keyReadings(key, place)
    expect(readings).toContain(reading)
    expect(readings[0]).toBe(plainKey(key, place))
  })

  test('a key that is one means nothing else', () => {
    expect(keyReadings('audio/A/b.mp3', place)).toEqual(['audio/A/b.mp3'])
    expect(keyReadings('A/b.mp3', { bucket: 'music', prefix: '' })).toEqual(['A/b.mp3'])
  })

  test.each([
    ['s3://other/audio/A/b.mp3', 'other'],
    ['s3:/other/audio/A/b.mp3', 'other'],
    [' S3N://other/audio/A/b.mp3', 'other'],
    ['arn:aws-cn:s3:::other/audio/A/b.mp3', 'other'],
    ['https://other.s3.eu-central-1.amazonaws.com/audio/A/b.mp3', 'other'],
    ['https://other.s3.amazonaws.com/audio/A/b.mp3', 'other'],
    ['s3://music/audio/A/b.mp3', undefined],
    ['https://music.s3-eu-west-1.amazonaws.com/audio/A/b.mp3', undefined],
    ['https://cdn.example.com/audio/A/b.mp3', undefined],
    ['audio/A/b.mp3', undefined],
  ])('%j names another bucket: %j', (key, bucket) => {
    expect(otherBucket(key, 'music')).toBe(bucket)
    if (bucket !== undefined) expect(keyReadings(key, place)).toEqual([plainKey(key, place)])
  })
})

test.each([
  ['abc', 'NFC'],
  ['é', 'NFC'],
  ['e\u0301', 'NFD'],
  // One of each.
  ['ée\u0301', 'neither NFC nor NFD'],
  // Ohm sign: its NFC is another letter.
  ['\u2126', 'neither NFC nor NFD'],
])('%j is in %s', (name, form) => {
  expect(formOf(name)).toBe(form)
})

test('names that only look alike are no twins', () => {
  for (const [a, b] of [
    ['a', 'а'],
    ['Straße', 'STRASSE'],
    ['a', 'a '],
    ['é', 'e'],
  ] as const)
    expect(twinKind(a, b)).toBeUndefined()
})

test('every extension of audio counts, and only at the end', () => {
  const extensions =
    'mp3 flac wav ogg oga opus m4a m4b mp4 aac aif aiff aifc wma webm mka ape wv mpc dsf dff caf au amr'
  for (const extension of extensions.split(' ')) {
    expect([extension, isStrayAudio(`a.${extension}`)]).toEqual([extension, true])
    expect([extension, isStrayAudio(`a.${extension}x`)]).toEqual([extension, false])
    expect([extension, isStrayAudio(`a${extension}`)]).toEqual([extension, false])
  }
})
