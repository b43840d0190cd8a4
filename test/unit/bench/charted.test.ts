import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { songsIn } from '../../../bench/audio/charted.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

/** What is read of a folder of one game that holds these files, paths relative to it. */
function heard(files: Readonly<Record<string, string>>) {
  const folder = temporaryFolder('charts')
  const game = path.join(folder, 'game')
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(game, name)), { recursive: true })
    writeFileSync(path.join(game, name), text)
  }
  return songsIn(folder).map(({ name, audio, ...chart }) => ({
    name: path.relative(game, name),
    audio: audio.map(file => path.relative(game, file)),
    ...chart,
  }))
}

test('StepMania: the first beat is where the offset says, its sign turned; comments are no values', () => {
  const chart =
    '#MUSIC:Song.OGG;\n#OFFSET:-0.250; // of the file\n#BPMS:0.000=150.500,\n64.000=75.250;\n#STOPS:;'
  expect(heard({ 'Song/song.sm': chart, 'Song/song.ogg': '', 'Song/other.mp3': '' })).toEqual([
    { name: 'Song/song.sm', audio: ['Song/song.ogg'], tempi: [150.5, 75.25], start: 0.25, stops: false },
  ])
})

test('StepMania: a song that stands still is told, and one without sound is none', () => {
  const chart = '#MUSIC:a.ogg;#OFFSET:0;#BPMS:0=120;#STOPS:16=0.5;'
  expect(heard({ 'Song/song.ssc': chart, 'Song/a.ogg': '' })).toMatchObject([{ stops: true }])
  expect(heard({ 'Song/song.ssc': chart })).toEqual([])
})

const funkin = (bpm: number, others: readonly object[] = []) =>
  JSON.stringify({ song: { bpm, notes: [{}, ...others] } })

test('Friday Night Funkin: instrumental and voices, once though there are two formats, and every tempo', () => {
  const sounds = ['Inst.ogg', 'Inst.mp3', 'Voices.ogg', 'Voices.mp3'].map(name => [
    `songs/my-song/${name}`,
    '',
  ])
  const charts = {
    'data/my-song/my-song.json': funkin(180, [
      { changeBPM: true, bpm: 90 },
      { changeBPM: false, bpm: 60 },
    ]),
    // Some are written with what the editor's memory held behind them.
    'data/my-song/my-song-hard.json': `\uFEFF${funkin(180)}\0\0`,
    'data/my-song/events.json': '{"song": {}}',
    'data/other/broken.json': '{',
  }
  expect(heard({ ...Object.fromEntries(sounds), ...charts })).toEqual([
    {
      name: 'songs/my-song/Inst.ogg',
      audio: ['songs/my-song/Inst.ogg', 'songs/my-song/Voices.ogg'],
      tempi: [180, 180, 90],
      start: 0,
      stops: false,
    },
  ])
})

test('Friday Night Funkin: a song without a chart is none', () => {
  expect(heard({ 'songs/a/Inst.ogg': '', 'data/b/b.json': funkin(100) })).toEqual([])
})

test.each([
  ['version 2', { _beatsPerMinute: 166, _songFilename: 'song.egg', _songTimeOffset: 0.1 }, 0.1],
  ['version 4', { audio: { bpm: 166, songFilename: 'song.egg' } }, 0],
])('Beat Saber, %s', (_, info, start) => {
  expect(heard({ 'Song/Info.dat': JSON.stringify(info), 'Song/song.egg': '' })).toEqual([
    { name: 'Song/Info.dat', audio: ['Song/song.egg'], tempi: [166], start, stops: false },
  ])
  expect(heard({ 'Song/Info.dat': JSON.stringify(info) })).toEqual([])
})

test('a list: the tempo alone, of what lies beside it', () => {
  const list = 'A b.mp3\t93.5\tCC-BY\nnot there.ogg\t120\n\nB.ogg\tfast\nC/D.ogg\t174'
  expect(heard({ 'x/tempi.tsv': list, 'x/A b.mp3': '', 'x/B.ogg': '', 'x/C/D.ogg': '' })).toEqual([
    { name: 'x/A b.mp3', audio: ['x/A b.mp3'], tempi: [93.5], start: undefined, stops: false },
    { name: 'x/C/D.ogg', audio: ['x/C/D.ogg'], tempi: [174], start: undefined, stops: false },
  ])
})
