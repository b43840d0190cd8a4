import { describe, expect, test } from 'vitest'
import {
  type AudioFolder,
  applicationStyle,
  isOpenedByApplication,
  libraryStyle,
  plainFolder,
  readStoredPath,
  writeStoredPath,
} from '../../../src/core/audio-path.ts'

/** The application's own default: `./audio` in its working directory. */
const usual: AudioFolder = { root: '/srv/app/audio', storagePath: './audio', applicationDir: '/srv/app' }
/** Its container's, with the volume mounted elsewhere on this machine. */
const container: AudioFolder = { root: '/mnt/volume', storagePath: '/app/audio', applicationDir: '/srv/app' }
/** autodj was told the folder and nothing else. */
const absolute: AudioFolder = {
  root: '/srv/app/audio',
  storagePath: '/srv/app/audio',
  applicationDir: '/home/op',
}

const readings = (filePath: string, folder: AudioFolder) => {
  const stored = readStoredPath(filePath, folder)
  return stored.ok ? stored.readings.map(({ form, relative }) => `${form} ${relative}`) : stored.reason
}

describe('what a stored path may mean', () => {
  test.each([
    ['audio/A/B.mp3', usual, ['application A/B.mp3', 'bare audio/A/B.mp3']],
    ['./audio//A/./B.mp3', usual, ['application A/B.mp3', 'bare audio/A/B.mp3']],
    ['audio/../audio/A/B.mp3', usual, ['application A/B.mp3', 'bare audio/A/B.mp3']],
    ['A/B.mp3', usual, ['bare A/B.mp3']],
    ['/srv/app/audio/A/B.mp3', usual, ['absolute A/B.mp3']],
    ['/app/audio/A/B.mp3', usual, ['elsewhere A/B.mp3']],
    ['/app/audio/audio/B.mp3', usual, ['elsewhere audio/B.mp3', 'elsewhere B.mp3']],
    ['C:\\app\\audio\\A\\B.mp3', usual, ['windows A/B.mp3', 'bare C:\\app\\audio\\A\\B.mp3']],
    ['C:/app/audio/A/B.mp3', usual, ['windows A/B.mp3', 'bare C:/app/audio/A/B.mp3']],
    ['audio\\A\\B.mp3', usual, ['windows A/B.mp3', 'windows audio/A/B.mp3', 'bare audio\\A\\B.mp3']],
    ['A\\Side a: B.mp3', usual, ['windows A/Side a: B.mp3', 'bare A\\Side a: B.mp3']],
    ['C:A\\B.mp3', usual, ['bare C:A\\B.mp3']],
    ['..\\A\\B.mp3', usual, ['bare ..\\A\\B.mp3']],
    ['A\\..\\..\\B.mp3', usual, ['bare A\\..\\..\\B.mp3']],
    ['file:///app/audio/A/B%20%C3%A9.mp3', usual, ['url A/B é.mp3', 'bare file:/app/audio/A/B%20%C3%A9.mp3']],
    ['file:///srv/app/audio/A/B.mp3', usual, ['url A/B.mp3', 'bare file:/srv/app/audio/A/B.mp3']],
    ['/app/audio/A/B.mp3', container, ['application A/B.mp3']],
    ['audio/A/B.mp3', container, ['bare audio/A/B.mp3']],
    ['/mnt/volume/A/B.mp3', container, ['absolute A/B.mp3']],
    ['/srv/app/audio/A/B.mp3', absolute, ['application A/B.mp3']],
    ['audio/A/B.mp3', absolute, ['application A/B.mp3', 'bare audio/A/B.mp3']],
    ['app/audio/A/B.mp3', absolute, ['application A/B.mp3', 'bare app/audio/A/B.mp3']],
    ['audio/A/B.mp3', plainFolder('/tmp/x'), ['application audio/A/B.mp3']],
  ])('%j', (filePath, folder, expected) => expect(readings(filePath, folder)).toEqual(expected))

  test.each(['', '.', '..', '../x.mp3', '/etc/passwd', '/music2/x.mp3', 'a/../../x', 'a\0b'])(
    '%j is refused',
    filePath => expect(readings(filePath, plainFolder('/music'))).toMatch(/file_path/),
  )

  test('what the application opens beside the folder comes before every reading', () => {
    expect(readStoredPath('manual/x.mp3', usual)).toMatchObject({ outside: ['/srv/app/manual/x.mp3'] })
    expect(readStoredPath('/old/audio/x.mp3', usual)).toMatchObject({ outside: ['/old/audio/x.mp3'] })
    expect(readStoredPath('audio/x.mp3', usual)).toMatchObject({ outside: [] })
  })

  test('which forms the application opens', () => {
    expect(
      (['application', 'absolute', 'elsewhere', 'windows', 'url', 'bare'] as const).filter(
        isOpenedByApplication,
      ),
    ).toEqual(['application', 'absolute', 'elsewhere', 'windows'])
  })
})

describe('how new paths are written', () => {
  test.each([
    ['./audio', 'audio/A/B.mp3'],
    ['audio/', 'audio/A/B.mp3'],
    ['.', 'A/B.mp3'],
    ['../music', '../music/A/B.mp3'],
    ['/app/audio/', '/app/audio/A/B.mp3'],
    ['/', '/A/B.mp3'],
    ['C:\\music', 'C:\\music\\A\\B.mp3'],
  ])('as the application with AUDIO_STORAGE_PATH=%s', (storagePath, expected) =>
    expect(writeStoredPath('A/B.mp3', applicationStyle({ storagePath }))).toBe(expected),
  )

  test.each<[string[], string]>([
    [[], 'audio/A/B.mp3'],
    [['X/1.mp3', 'X/2.mp3'], 'audio/A/B.mp3'],
    [['/app/audio/X/1.mp3', '/app/audio/X/2.mp3', 'audio/X/3.mp3'], '/app/audio/A/B.mp3'],
    [['/app/audio/X/1.mp3', 'audio/X/3.mp3'], 'audio/A/B.mp3'],
    [['/srv/app/audio/X/1.mp3'], '/srv/app/audio/A/B.mp3'],
    [['C:\\app\\audio\\X\\1.mp3'], 'C:\\app\\audio\\A\\B.mp3'],
    [['audio\\X\\1.mp3'], 'audio\\A\\B.mp3'],
    [['file:///app/audio/X/1.mp3'], 'audio/A/B.mp3'],
  ])('as most of %j', (paths, expected) =>
    expect(writeStoredPath('A/B.mp3', libraryStyle(paths, usual))).toBe(expected),
  )
})
