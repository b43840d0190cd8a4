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

  test.each([
    ['', 'file_path is empty', 'Run `autodj import` to find the file again.'],
    ['a\0b', 'file_path contains a NUL byte', 'Correct the row.'],
    ['audio', 'file_path is the audio folder itself', 'Correct the row.'],
    ['/srv/app/audio/', 'file_path is the audio folder itself', 'Correct the row.'],
    [
      '/etc/passwd',
      'file_path is outside the audio folder: /etc/passwd',
      expect.stringMatching(/^Move the file under AUDIO_STORAGE_PATH/),
    ],
    ['../x.mp3', 'file_path is outside the audio folder: ../x.mp3', expect.stringMatching(/--audio-root\.$/)],
  ])('%j is refused: %s', (filePath, reason, cure) => {
    const { reason: why, cure: how } = readStoredPath(filePath, { ...usual, storagePath: './audio' }) as {
      reason: string
      cure: string
    }
    if (filePath !== 'audio') expect([why, how]).toEqual([reason, cure])
    // `audio` in the folder may be a file of that name.
    else expect(readings('audio', usual)).toEqual(['bare audio'])
  })

  const prefixes = (filePath: string, folder: AudioFolder) => {
    const stored = readStoredPath(filePath, folder)
    return stored.ok ? stored.readings.map(({ prefix }) => prefix) : []
  }
  test.each([
    ['audio/A/B.mp3', usual, ['audio/', '']],
    ['./audio//A/B.mp3', usual, ['audio/', '']],
    ['/app/audio/audio/B.mp3', usual, ['/app/audio/', '/app/audio/audio/']],
    ['C:\\app\\audio\\A\\B.mp3', usual, ['C:/app/audio/', '']],
    ['AUDIO\\A\\B.mp3', usual, ['AUDIO/', '', '']],
    ['file:///app/audio/A/B.mp3', usual, ['/app/audio/', '']],
  ])('what stands before the path in %j', (filePath, folder, expected) => {
    expect(prefixes(filePath, folder)).toEqual(expected)
  })

  /** The application's folder is above its working directory, or is its working directory. */
  const above: AudioFolder = { root: '/srv/music', storagePath: '../music', applicationDir: '/srv/app' }
  const here: AudioFolder = { root: '/srv/app', storagePath: '.', applicationDir: '/srv/app' }
  const windows: AudioFolder = { root: '/mnt/d', storagePath: 'D:\\Music', applicationDir: '/srv/app' }
  test.each([
    ['../music/A/B.mp3', above, ['application A/B.mp3']],
    ['music/A/B.mp3', above, ['application A/B.mp3', 'bare music/A/B.mp3']],
    ['srv/music/A/B.mp3', above, ['application A/B.mp3', 'bare srv/music/A/B.mp3']],
    ['srv/A/B.mp3', above, ['bare srv/A/B.mp3']],
    ['../other/A/B.mp3', above, 'file_path is outside the audio folder: ../other/A/B.mp3'],
    ['A/B.mp3', here, ['application A/B.mp3']],
    ['app/A/B.mp3', here, ['application app/A/B.mp3', 'application A/B.mp3']],
    ['d:\\music\\A\\B.mp3', windows, ['windows A/B.mp3', 'bare d:\\music\\A\\B.mp3']],
    ['E:\\Music\\A\\B.mp3', windows, ['windows A/B.mp3', 'bare E:\\Music\\A\\B.mp3']],
    ['\\Music\\A\\B.mp3', windows, ['windows A/B.mp3', 'bare \\Music\\A\\B.mp3']],
    ['\\mnt\\d\\A.mp3', windows, ['windows A.mp3', 'bare \\mnt\\d\\A.mp3']],
    ['/Music/A/B.mp3', windows, ['elsewhere A/B.mp3']],
    ['FILE:///D:/Music/A/B.mp3', windows, ['url A/B.mp3', 'bare FILE:/D:/Music/A/B.mp3']],
    ['file://%', usual, ['bare file:/%']],
    ['file:///app/audio/100%.mp3', usual, ['bare file:/app/audio/100%.mp3']],
    ['x file:///app/audio/A.mp3', usual, ['bare x file:/app/audio/A.mp3']],
    ['audio/audio', usual, ['application audio', 'bare audio/audio']],
  ])('of %j', (filePath, folder, expected) => {
    expect(readings(filePath, folder)).toEqual(expected)
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
    ['c:/music//', 'c:\\music\\A\\B.mp3'],
    ['music\\mine\\', 'music\\mine\\A\\B.mp3'],
    ['./a/./b//', 'a/b/A/B.mp3'],
    ['', 'A/B.mp3'],
    ['ac:/music', 'ac:/music/A/B.mp3'],
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
    [['', '/etc/passwd', '/app/audio/X/1.mp3'], '/app/audio/A/B.mp3'],
    [['audio/X/1.mp3', '/app/audio/X/1.mp3', '/app/audio/X/2.mp3', '/b/audio/X/3.mp3'], '/app/audio/A/B.mp3'],
  ])('as most of %j', (paths, expected) =>
    expect(writeStoredPath('A/B.mp3', libraryStyle(paths, usual))).toBe(expected),
  )
})
