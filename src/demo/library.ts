/**
 * The bundled demo library. Its files are stored under plain ASCII names, which survive every archive and checkout;
 * the manifest says what they are called in a library as people really have it: other scripts, NFD, `+ # % ?`,
 * emoji, a wrong extension, the same content twice.
 */
import { copyFile, mkdir, readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FatalError, systemErrorCode } from '../errors.ts'

interface DemoFile {
  /** stored name in `assets/demo` */
  file: string
  /** path in the library, `/` between folders, in NFC */
  as: string
  /** Unicode form the path has on disk, if it is not NFC. Kept apart, so that no editor can normalise it away. */
  form?: 'NFD'
}

/**
 * Copies the bundled library into `targetDir`, which is made if need be; files of the same name are overwritten.
 *
 * @returns how many files were written and their size in bytes
 * @throws FatalError when the package was installed without its assets
 */
export async function copyDemoLibrary(
  targetDir: string,
  { signal }: { signal?: AbortSignal } = {},
): Promise<{ files: number; bytes: number }> {
  const { assets, files } = await readManifest()
  let bytes = 0
  for (const { file, as, form } of files) {
    signal?.throwIfAborted()
    const target = join(targetDir, nameOnDisk(as.normalize(form ?? 'NFC')))
    await mkdir(dirname(target), { recursive: true })
    await copyFile(join(assets, file), target)
    bytes += (await stat(target)).size
  }
  return { files: files.length, bytes }
}

/** Windows cannot hold `? * " < > | :` in a name; there the demo goes without them. */
function nameOnDisk(path: string): string {
  return process.platform === 'win32' ? path.replace(/[?*"<>|:]/g, '_') : path
}

/** Assets are as far from the sources as from the files of the build. */
async function readManifest(): Promise<{ assets: string; files: DemoFile[] }> {
  const assets = fileURLToPath(new URL('../../assets/demo', import.meta.url))
  try {
    const { files } = JSON.parse(await readFile(join(assets, 'manifest.json'), 'utf8')) as {
      files: DemoFile[]
    }
    return { assets, files }
  } catch (thrown) {
    if (systemErrorCode(thrown) !== 'ENOENT') throw thrown
    throw new FatalError('the demo audio is not part of this installation', { code: 'demo.assets-missing' })
  }
}
