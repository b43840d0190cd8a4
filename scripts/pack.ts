/**
 * What `npm pack` and `npm publish` do to package.json: scripts and development tools are nothing to whoever installs
 * the tarball, and npm warns of a `prepare` in it; the man pages, which the build makes, are listed. Git installs need that script, since npm runs no `prepack` for them.
 *
 * `node scripts/pack.ts` before packing, with `--restore` after it.
 */
import { copyFileSync, existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'

const manifest = path.join(import.meta.dirname, '../package.json')
/** Ignored by Git; left by a packing that was killed, it is what to restore. */
const kept = `${manifest}.unpacked`

if (process.argv.includes('--restore')) {
  if (existsSync(kept)) renameSync(kept, manifest)
} else {
  if (!existsSync(kept)) copyFileSync(manifest, kept)
  const { scripts, devDependencies, allowScripts, ...rest } = JSON.parse(readFileSync(kept, 'utf8'))
  // npm finds man pages by name only.
  const pages = readdirSync(path.join(path.dirname(manifest), 'dist/man')).sort()
  const man = pages.map(page => `dist/man/${page}`)
  writeFileSync(manifest, `${JSON.stringify({ ...rest, man }, undefined, 2)}\n`)
}
