/**
 * The site of docs/: the pages as they read on GitHub, with a menu and a search that needs no service. What is linked
 * above docs/ (CONTRIBUTING, LICENSE) is read on the forge.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { defineConfig } from 'vitepress'

const docs = path.join(import.meta.dirname, '..')
const guide = ['guide', 'aws', 'operations', 'troubleshooting', 'security', 'cost', 'upgrading']
const reference = ['commands/README', 'settings', 'exit-codes', 'error-codes', 'json']
const background = [
  'architecture',
  'reliability',
  'application',
  'scale',
  'stores',
  'analysis',
  'releasing',
  'decisions',
]

/** The first heading is the title. */
function titleOf(page: string): string {
  return (
    /^# (.+)$/m.exec(readFileSync(path.join(docs, `${page}.md`), 'utf8'))?.[1]?.replaceAll('`', '') ?? page
  )
}
const pagesIn = (folder: string): string[] =>
  readdirSync(path.join(docs, folder))
    .filter(name => name.endsWith('.md') && name !== 'README.md')
    .map(name => path.posix.join(folder, name.slice(0, -3)))
    .sort()
const item = (page: string) => ({ text: titleOf(page), link: `/${page.replace(/README$/, '')}` })
const aboveDocs = (link: string): string =>
  path.join(docs, '..', link.replace(/^(\.\.?\/)+/, '').replace(/\/index$/, '/README'))
const all = pagesIn('.')
/** A page that no list names comes after those of the guide. */
const isElsewhere = (page: string) => ![...guide, ...reference, ...background].includes(page)
const there = (page: string) => all.includes(page) || page.endsWith('README')

export default defineConfig({
  title: 'autodj',
  description: 'Moves an Auto-DJ library to S3 behind CloudFront, proves it, and keeps it right.',
  rewrites: { 'README.md': 'index.md', ':folder/README.md': ':folder/index.md' },
  srcExclude: ['node_modules'],
  cleanUrls: true,
  // What is linked above docs/ is in the repository; the test with lychee looks whether it is.
  ignoreDeadLinks: [link => ['', '.md'].some(end => existsSync(aboveDocs(link) + end))],
  themeConfig: {
    outline: [2, 3],
    search: { provider: 'local' },
    nav: [
      { text: 'Commands', link: '/commands/' },
      { text: 'Settings', link: '/settings' },
      { text: 'Errors', link: '/error-codes' },
    ],
    sidebar: [
      {
        text: 'Guide',
        items: [...guide.filter(there), ...all.filter(isElsewhere)].map(item),
      },
      { text: 'Reference', items: reference.filter(there).map(item) },
      { text: 'Commands', collapsed: true, items: pagesIn('commands').map(item) },
      { text: 'Background', items: background.filter(there).map(item) },
      { text: 'Decisions', collapsed: true, items: pagesIn('decisions').map(item) },
    ],
  },
})
