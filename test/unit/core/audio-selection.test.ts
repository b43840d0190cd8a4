import { describe, expect, test } from 'vitest'
import { audioSelection } from '../../../src/core/audio-selection.ts'

const none = new Set<string>()

describe('by default', () => {
  const selection = audioSelection({})
  test.each([
    'Artist/Song.mp3.crdownload',
    'Artist/Song.mp3.part',
    'Artist/Song.mp3.PART',
    'Song.m4a.partial',
    'Song.mp3.opdownload',
    'Artist/Song.f140.m4a.part',
    'Song.webm.part-Frag12.part',
    'Song.temp.m4a',
    'Song.mp3.!ut',
    'Song.mp3.!qB',
    'Song.mp3.bc!',
    'Song.mp3.aria2',
    'Song.flac.filepart',
    'Song.mp3.fdmdownload',
    'Song.mp3.xltd',
    '003.part.met',
    'INCOMPLETE~Song.mp3',
    'INCOMPLETE0123456789abcdef0123456789abcdefSong.mp3',
    '~syncthing~Song.mp3.tmp',
    'Song.mp3.!sync',
    'Song.mp3.ocTransferId123.part',
    'Song.mp3.tmp',
    'Song.mp3~',
    'Song.flac.baiduyun.p.downloading',
    'Song.mp3.dctmp',
    'Song.mp3.ffs_tmp',
    'Song.mp3.crswap',
    'getxfer.2305.12.mega',
  ])('%s is no track yet', path => {
    expect(selection.takesFile(path, none)).toBe(false)
  })
  test.each([
    '@eaDir',
    'Artist/@eaDir',
    '#recycle',
    'Music/#snapshot',
    '@Recycle',
    '$RECYCLE.BIN',
    '$Recycle.Bin',
    'RECYCLER',
    'System Volume Information',
    'lost+found',
    'Artist/__MACOSX',
    '_gsdata_',
    'Song.mp3.download',
    '_UNPACK_Artist - Album',
    'trashbox',
    'FOUND.000',
    '_NAS_Recycle_RAID',
    'incomplete',
  ])('nobody goes into %s', path => {
    expect(selection.takesFolder(path)).toBe(false)
  })
  test.each([
    'Artist/Song.mp3',
    'Artist/Part.mp3',
    'Partial/Tmp.mp3',
    'Incomplete.mp3',
    'A/Incomplete/Song.mp3',
    'Unconfirmed Report.mp3',
    '#1 Crush.mp3',
    '!!!.mp3',
    '100%.mp3',
    'Song.download.mp3',
    'Found.mp3',
    'Lost/Found.000.mp3',
    'Trash/Box.mp3',
    'The Failed.mp3',
  ])('%s is taken', path => {
    expect(selection.takesFile(path, none)).toBe(true)
    const folders = path.split('/').slice(0, -1)
    for (let i = 1; i <= folders.length; i++)
      expect(selection.takesFolder(folders.slice(0, i).join('/'))).toBe(true)
  })
  test('a file is not all there while a program keeps its notes beside it', () => {
    expect(selection.takesFile('A/Song.mp3', new Set(['Song.mp3', 'Song.mp3.aria2']))).toBe(false)
    expect(selection.takesFile('A/Song.mp3', new Set(['Song.mp3', 'Other.mp3.aria2']))).toBe(true)
  })
})

test('the ignore file adds, and takes back', () => {
  const selection = audioSelection({ ignoreFile: '# mine\nSamples/\n*.wav\n!*.part\n!keep.wav\n/Top.mp3\n' })
  expect(selection.takesFolder('Samples')).toBe(false)
  expect(selection.takesFolder('A/Samples')).toBe(false)
  expect(selection.takesFile('A/x.wav', none)).toBe(false)
  expect(selection.takesFile('A/keep.wav', none)).toBe(true)
  expect(selection.takesFile('A/x.mp3.part', none)).toBe(true)
  expect(selection.takesFile('Top.mp3', none)).toBe(false)
  expect(selection.takesFile('A/Top.mp3', none)).toBe(true)
})
