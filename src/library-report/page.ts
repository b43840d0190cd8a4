/** The page: plain HTML with its style inside, every chart an inline SVG with its figures as a table below it. */
import { estimateCost, type LibraryCost } from '../core/cost/library-cost.ts'
import { formatDollars, type Prices } from '../core/cost/prices.ts'
import { formatAge, formatBytes, formatCount, formatDuration, plural, printable } from '../core/units.ts'
import { type ExitCode, exitCodeOutcome } from '../errors.ts'
import { countedBy } from '../status/storage.ts'
import { area, bars, type Chart, colors, histogram, lines } from './charts.ts'
import type { ReportData } from './data.ts'

interface PageOptions {
  readonly now: Date
  readonly version: string
  readonly bucket: string | undefined
  readonly days: number
  readonly prices: Prices
}

/** A value of a table's cell: numbers stand right. */
type Cell = string | number

const sources: Readonly<Record<string, string>> = {
  S3: 'in S3',
  LOCAL: 'local',
  YOUTUBE: 'local, from YouTube',
  UNAVAILABLE: 'without audio',
}

export function renderPage(data: ReportData, options: PageOptions): string {
  const { now, version, bucket, days } = options
  const sections = [
    overview(data),
    progress(data, days),
    delivery(data),
    failures(data),
    library(data),
    storage(data, options),
    runs(data, now),
  ]
  const title = `autodj: ${bucket ?? 'library'}, ${now.toISOString().slice(0, 10)}`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>${escaped(title)}</title>
<style>${css}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the report</a>
<header>
<h1>${escaped(bucket === undefined ? 'Auto-DJ library' : `Auto-DJ library in ${bucket}`)}</h1>
<p>As recorded in the database on <time datetime="${now.toISOString()}">${now.toISOString().slice(0, 16).replace('T', ' ')} UTC</time>; charts go back ${plural(days, 'day')}.</p>
<nav aria-label="Sections"><ul>${sections.map(({ id, title: name }) => `<li><a href="#${id}">${escaped(name)}</a></li>`).join('')}</ul></nav>
</header>
<main id="main" tabindex="-1">
${sections.map(({ id, title: name, html }) => `<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${escaped(name)}</h2>\n${html}</section>`).join('\n')}
</main>
<footer><p>Made by autodj ${escaped(version)}. <code>autodj status</code> says the same in a terminal, <code>autodj reconcile</code> and <code>autodj verify</code> compare it with bucket and CDN.</p></footer>
</body>
</html>
`
}

interface Section {
  readonly id: string
  readonly title: string
  readonly html: string
}

function overview({ status }: ReportData): Section {
  const total = status.tracks.reduce((sum, one) => sum + one.tracks, 0)
  const inS3 = status.tracks.find(one => one.source === 'S3')
  const failed = status.failures.reduce((sum, one) => sum + one.items, 0)
  const tiles: [string, string, string][] = [
    [
      'Tracks',
      formatCount(total),
      `${formatBytes(status.tracks.reduce((sum, one) => sum + one.bytes, 0))} of audio`,
    ],
    [
      'In S3',
      total === 0
        ? '0'
        : `${((100 * (inS3?.tracks ?? 0)) / total).toFixed(inS3?.tracks === total ? 0 : 1)} %`,
      `${plural(inS3?.tracks ?? 0, 'track')}, ${formatCount(status.objects.served)} seen through the CDN`,
    ],
    [
      'Failures',
      formatCount(failed),
      failed === 0 ? 'nothing failed the last time it was tried' : 'listed below with what to do',
    ],
    [
      'Could be freed',
      formatBytes(inS3?.fileBytes ?? 0),
      `${plural(inS3?.withFile ?? 0, 'local copy', 'local copies')} of tracks in S3`,
    ],
  ]
  const html = `<dl class="tiles">${tiles.map(([name, value, more]) => `<div><dt>${name}</dt><dd><strong>${escaped(value)}</strong><span>${escaped(more)}</span></dd></div>`).join('')}</dl>
${table(
  'Tracks by where their audio is',
  ['Audio', 'Tracks', 'Bytes', 'Analysed'],
  status.tracks.map(one => [
    one.source === null ? 'no source' : (sources[one.source] ?? one.source),
    one.tracks,
    formatBytes(one.bytes),
    one.analysed,
  ]),
)}`
  return { id: 'overview', title: 'Where it stands', html }
}

function progress({ uploads, throughput }: ReportData, days: number): Section {
  let tracks = 0
  const summed = uploads.map(one => {
    tracks += one.tracks
    return { ...one, sum: tracks }
  })
  return {
    id: 'progress',
    title: 'Progress',
    html: cards([
      figure(
        {
          title: 'Tracks uploaded',
          description: `${formatCount(tracks)} tracks were uploaded in the last ${days} days.`,
        },
        summed.length,
        chart => area(chart, summed, 'day', 'sum', 'tracks, summed up'),
        ['Day', 'Tracks', 'Bytes', 'Summed up'],
        summed.map(one => [dayOf(one.day), one.tracks, formatBytes(one.bytes), one.sum]),
      ),
      figure(
        { title: 'Throughput of uploads', description: 'Bytes a second of each run of upload-local.' },
        throughput.length,
        chart => lines(chart, [{ points: throughput, y: 'bytesPerSecond' }], 'a second', { asBytes: true }),
        ['Run', 'A second'],
        throughput.map(one => [timeOf(one.at), formatBytes(one.bytesPerSecond)]),
      ),
    ]),
  }
}

function delivery({ delivery: runs, edges }: ReportData): Section {
  const ratios = runs.filter(one => one.hitRatio !== null)
  const times = runs.filter(one => one.p50 !== null)
  return {
    id: 'delivery',
    title: 'Delivery through the CDN',
    html: cards([
      figure(
        { title: 'Answers from the edge cache', description: 'Hit ratio that each run of verify saw.' },
        ratios.length,
        chart => lines(chart, [{ points: ratios, y: 'hitRatio' }], 'of all answers', { isPercent: true }),
        ['Run', 'Hit ratio'],
        ratios.map(one => [timeOf(one.at), `${Math.round(100 * (one.hitRatio ?? 0))} %`]),
      ),
      figure(
        {
          title: 'Time to the first byte',
          description: 'Median (solid, circles) and 95th percentile (dashed, squares) in milliseconds.',
        },
        times.length,
        chart =>
          lines(
            chart,
            [
              { points: times, y: 'p50' },
              { points: times, y: 'p95', isDashed: true, color: colors.second },
            ],
            'ms: solid median, dashed 95th percentile',
          ),
        ['Run', 'Median, ms', '95th percentile, ms'],
        times.map(one => [timeOf(one.at), one.p50 ?? '', one.p95 ?? '']),
      ),
      figure(
        { title: 'Edge locations', description: 'Objects by the CloudFront location that answered last.' },
        edges.length,
        chart => bars(chart, edges, 'objects', 'objects'),
        ['Location', 'Objects', 'Median, ms'],
        edges.map(one => [one.name, one.objects, Math.round(one.latency)]),
      ),
    ]),
  }
}

function failures({ status, drift }: ReportData): Section {
  const causes = status.failures.map(one => ({ name: one.code, items: one.items })).slice(0, 12)
  const list =
    status.failures.length === 0
      ? '<p>Nothing failed the last time it was tried.</p>'
      : table(
          'What failed or was skipped, and what to do',
          ['Command', 'Items', 'Cause', 'What to do'],
          status.failures.map(one => [one.command, one.items, `${one.code}: ${one.error}`, one.cure ?? '']),
        )
  return {
    id: 'failures',
    title: 'Failures and drift',
    html: `${cards([
      figure(
        { title: 'Failures by cause', description: `${plural(causes.length, 'cause')}.` },
        causes.length,
        chart => bars(chart, causes, 'items', 'items', { color: colors.alarm }),
        ['Cause', 'Items'],
        causes.map(one => [one.name, one.items]),
      ),
      figure(
        {
          title: 'Drift',
          description: 'Differences between database and bucket that each run of reconcile found.',
        },
        drift.length,
        chart => lines(chart, [{ points: drift, y: 'differences', color: colors.alarm }], 'differences'),
        ['Run', 'Differences'],
        drift.map(one => [timeOf(one.at), one.differences]),
      ),
    ])}
${list}`,
  }
}

function library({ tempi, keys, versions }: ReportData): Section {
  return {
    id: 'library',
    title: 'The library',
    html: cards([
      figure(
        { title: 'Tempo', description: 'Tracks by tempo, in steps of 5 beats a minute.' },
        tempi.length,
        chart => histogram(chart, tempi, 'from', 5, 'tracks', 'tracks, by beats a minute'),
        ['Beats a minute', 'Tracks'],
        tempi.map(one => [`${one.from} to ${one.from + 5}`, one.tracks]),
      ),
      figure(
        { title: 'Key', description: 'Tracks by key, the most frequent first.' },
        keys.length,
        chart => bars(chart, keys, 'tracks', 'tracks'),
        ['Key', 'Tracks'],
        keys.map(one => [one.name, one.tracks]),
      ),
      figure(
        { title: 'Versions of the analysis', description: 'Tracks by the version that analysed them.' },
        versions.length,
        chart => bars(chart, versions, 'tracks', 'tracks'),
        ['Version', 'Tracks'],
        versions.map(one => [one.name, one.tracks]),
      ),
    ]),
  }
}

function storage({ storage: totals, status }: ReportData, { prices, now }: PageOptions): Section {
  const classes =
    totals?.classes ??
    (status.objects.objects > 0
      ? [{ name: 'STANDARD', objects: status.objects.objects, bytes: status.objects.bytes }]
      : [])
  const from =
    totals === undefined
      ? 'As recorded in the ledger, all counted as S3 Standard; <code>autodj status --storage listing</code> counts what is actually there.'
      : `Counted ${countedBy[totals.source]} ${formatAge(now.getTime() - totals.takenAt.getTime())}.`
  const cost: LibraryCost = estimateCost(classes, prices)
  return {
    id: 'storage',
    title: 'Storage and cost',
    html: `<p>${from}</p>
${cards([
  figure(
    {
      title: 'Bytes by storage class',
      description: `${formatBytes(cost.bytes)} in ${plural(cost.objects, 'object')}.`,
    },
    classes.length,
    chart => bars(chart, classes, 'bytes', 'bytes', { asBytes: true }),
    ['Class', 'Objects', 'Bytes', 'A month'],
    classes.map((one, index) => [
      one.name,
      one.objects ?? '',
      formatBytes(one.bytes),
      formatDollars(cost.byClass[index] ?? 0),
    ]),
  ),
])}
${table(
  'What a month of storage costs',
  ['Kept', 'A month', 'Assumed'],
  cost.options.map(one => [one.name, formatDollars(one.dollarsAMonth), one.assumption]),
)}
<p class="small">List prices of ${escaped(prices.region)}, ${escaped(prices.asOf)}, without free allowances, requests and transfer; ${escaped(prices.source)}.</p>`,
  }
}

function runs({ status }: ReportData, now: Date): Section {
  return {
    id: 'runs',
    title: 'Last runs',
    html:
      status.runs.length === 0
        ? '<p>No run yet.</p>'
        : table(
            'The last run of each command',
            ['Command', 'Began', 'Ended', 'Took'],
            status.runs
              .toSorted((a, b) => b.startedAt.getTime() - a.startedAt.getTime())
              .map(one => [
                one.command,
                `${timeOf(one.startedAt)} (${formatAge(now.getTime() - one.startedAt.getTime())})`,
                one.state === 'running'
                  ? 'is running'
                  : one.exitCode === null
                    ? 'killed'
                    : `${exitCodeOutcome[one.exitCode as ExitCode] ?? 'ended'} (${one.exitCode})`,
                one.finishedAt === null
                  ? ''
                  : formatDuration(one.finishedAt.getTime() - one.startedAt.getTime()),
              ]),
          ),
  }
}

const cards = (figures: readonly string[]): string => `<div class="cards">${figures.join('\n')}</div>`

/** A chart with its figures below it; a sentence if there is nothing to draw. */
function figure(
  chart: Chart,
  points: number,
  draw: (chart: Chart) => string,
  heads: readonly string[],
  rows: readonly (readonly Cell[])[],
): string {
  const id = `figure-${chart.title.toLowerCase().replaceAll(/[^a-z]+/g, '-')}`
  const body =
    points === 0
      ? '<p class="none">Nothing to show yet.</p>'
      : `<div class="chart">${draw(chart)}</div>
<details><summary>${escaped(chart.title)}: figures</summary>${table(`${chart.title}: figures`, heads, rows, true)}</details>`
  return `<figure aria-labelledby="${id}"><figcaption id="${id}"><h3>${escaped(chart.title)}</h3><p>${escaped(chart.description)}</p></figcaption>${body}</figure>`
}

function table(
  caption: string,
  heads: readonly string[],
  rows: readonly (readonly Cell[])[],
  isCaptionHidden = false,
): string {
  const cell = (value: Cell): string =>
    typeof value === 'number' ? `<td class="number">${formatCount(value)}</td>` : `<td>${escaped(value)}</td>`
  const row = ([name = '', ...rest]: readonly Cell[]): string =>
    `<tr><th scope="row">${escaped(String(name))}</th>${rest.map(cell).join('')}</tr>`
  return `<div class="scroll" role="region" aria-label="${escaped(caption)}" tabindex="0"><table><caption${isCaptionHidden ? ' class="hidden"' : ''}>${escaped(caption)}</caption><thead><tr>${heads.map(head => `<th scope="col">${escaped(head)}</th>`).join('')}</tr></thead><tbody>${rows.map(row).join('')}</tbody></table></div>`
}

const dayOf = (day: Date): string => new Date(day).toISOString().slice(0, 10)
const timeOf = (at: Date): string => new Date(at).toISOString().slice(0, 16).replace('T', ' ')

function escaped(text: string): string {
  return printable(text).replaceAll(/[&<>"']/g, one => `&#${one.charCodeAt(0)};`)
}

const css = `
:root{--page:#f6f7f9;--card:#fff;--text:#1b1f24;--soft:#4a5361;--line:#d5dae1;--first:#0b62b0;--second:#a3470b;--alarm:#b3261e}
@media (prefers-color-scheme:dark){:root{--page:#12161b;--card:#1b2129;--text:#e8ebef;--soft:#b3bcc8;--line:#363f4b;--first:#6db3f2;--second:#f2a65a;--alarm:#ff8a80}}
*{box-sizing:border-box}
html{font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;color:var(--text);background:var(--page)}
body{max-width:76rem;margin:0 auto;padding:1rem clamp(.75rem,3vw,2rem)}
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0;overflow-wrap:anywhere}h2{font-size:1.25rem;margin:2rem 0 .75rem;border-bottom:1px solid var(--line);padding-bottom:.25rem}h3{font-size:1rem;margin:0}
a{color:var(--first)}a:focus-visible,summary:focus-visible,.scroll:focus-visible{outline:3px solid var(--first);outline-offset:2px;border-radius:3px}
.skip{position:absolute;left:-999px}.skip:focus{position:static}
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1rem;padding:0;margin:.5rem 0;list-style:none}nav a{display:inline-block;padding:.25rem 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:1rem;margin:0 0 1rem}
.tiles div,figure{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:1rem;margin:0;min-width:0}
.tiles dt,.tiles span,figcaption p,.small,.none,footer{color:var(--soft)}.tiles dd{margin:0}.tiles strong{display:block;font-size:1.7rem;line-height:1.2}.tiles span{font-size:.9rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1rem;margin-bottom:1rem}
figcaption p{margin:.1rem 0 .75rem;font-size:.9rem}.chart svg{width:100%;height:auto;display:block}
details{margin-top:.75rem}summary{cursor:pointer;padding:.25rem 0}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}caption{text-align:left;font-weight:600;padding:.25rem 0}.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
th,td{text-align:left;vertical-align:top;padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line)}th[scope=row]{font-weight:500}.number{font-variant-numeric:tabular-nums}
.small{font-size:.85rem}footer{margin-top:2rem;font-size:.9rem}
@media print{:root{--page:#fff;--card:#fff;--text:#000;--soft:#333;--line:#999;--first:#0b62b0;--second:#a3470b;--alarm:#b3261e}body{max-width:none;padding:0}nav,.skip,details{display:none}figure,section>.scroll,.tiles div{break-inside:avoid}.scroll{overflow:visible}}
`
