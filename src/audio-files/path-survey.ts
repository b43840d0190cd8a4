/** In which forms the rows of a library name their files, and how many of those files are there: for `doctor` and dry runs. */
import type { Knex } from 'knex'
import { type AudioFolder, type PathForm, readStoredPath } from '../core/audio-path.ts'
import { plural } from '../core/units.ts'
import { trackPages } from '../db/tracks.ts'
import { findSource, LocalFileError, openRoot } from './source.ts'

/** `outside`: beside the audio folder, or no path at all. */
type SurveyedForm = PathForm | 'outside'

export interface PathSurvey {
  /** rows looked at */
  rows: number
  /** whether there are more */
  more: boolean
  /** rows whose file is there */
  found: number
  forms: Partial<Record<SurveyedForm, { rows: number; found: number; example: string }>>
}

/** Rows that are looked at: enough to know a library, and a second of disk. */
const limit = 10_000

/** Looks at rows whose audio is a local file. @throws LocalFileError if there is no audio folder */
export async function surveyPaths(
  knex: Knex,
  folder: AudioFolder,
  signal?: AbortSignal,
): Promise<PathSurvey> {
  const root = await openRoot(folder.root)
  const survey: PathSurvey = { rows: 0, more: false, found: 0, forms: {} }
  for await (const page of trackPages(knex, {
    filter: { sources: ['LOCAL', 'YOUTUBE'], hasFile: true },
    inOrder: true,
    ...(signal === undefined ? {} : { signal }),
  })) {
    for (const { filePath } of page) {
      if (survey.rows === limit) return { ...survey, more: true }
      const { form, found } = await look(filePath as string, folder, root)
      survey.rows += 1
      const counts = survey.forms[form] ?? { rows: 0, found: 0, example: filePath as string }
      survey.forms[form] = counts
      counts.rows += 1
      if (!found) continue
      survey.found += 1
      counts.found += 1
    }
  }
  return survey
}

async function look(
  filePath: string,
  folder: AudioFolder,
  root: string,
): Promise<{ form: SurveyedForm; found: boolean }> {
  try {
    return { form: (await findSource(filePath, folder, root)).reading.form, found: true }
  } catch (error) {
    if (!(error instanceof LocalFileError)) throw error
    const stored = readStoredPath(filePath, folder)
    const isOut = error.problem === 'refused' || !stored.ok
    return { form: isOut ? 'outside' : stored.readings[0].form, found: false }
  }
}

const meanings: Readonly<Record<SurveyedForm, string>> = {
  application: 'as the application writes them',
  absolute: 'by their absolute path',
  elsewhere: 'by their absolute path on another machine or in a container',
  windows: 'as Windows writes them',
  url: 'as file:// URLs, which the application does not open',
  bare: "without the folder's name, which the application does not open",
  outside: 'outside the audio folder',
}

/** One line: `3 of 4 files found: 3 rows as the application writes them (audio/A/B.mp3), 2 found; …`. */
export function describeSurvey({ rows, found, more, forms }: PathSurvey): string {
  const parts = (Object.keys(meanings) as SurveyedForm[]).flatMap(form => {
    const counts = forms[form]
    if (counts === undefined) return []
    const there = counts.found === counts.rows ? '' : `, ${counts.found} found`
    return `${plural(counts.rows, 'row')} ${meanings[form]} (${counts.example})${there}`
  })
  if (rows === 0) return 'no row names a local file'
  return `${found} of ${more ? `the first ${rows}` : rows} files found: ${parts.join('; ')}`
}

/** Rows that name a file which is there in a form that the application does not open. */
export function notOpenedByApplication({ forms }: PathSurvey): number {
  return (forms.bare?.found ?? 0) + (forms.url?.found ?? 0)
}
