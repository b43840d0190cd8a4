/** What a container says of the sound in it: where it lies, how long it is, and whether all of it is there. */

/** Samples as they lie in the file, one frame (a sample of each channel) behind another. */
export interface PcmLayout {
  readonly encoding: 'signed' | 'unsigned' | 'float' | 'alaw' | 'ulaw'
  /** of one sample */
  readonly bytes: 1 | 2 | 3 | 4 | 8
  readonly little: boolean
  readonly channels: number
  /** Hz */
  readonly sampleRate: number
}

export interface Sound {
  /** The bytes that a decoder wants: the container without tags before and behind it. */
  readonly start: number
  /** exclusive */
  readonly end: number
  /** Hz */
  readonly sampleRate?: number | undefined
  readonly channels?: number | undefined
  /** Name of the coding, where the container has one; lower case, short. */
  readonly coding?: string | undefined
  /** Seconds: counted in samples or frames, or as the container states them. Never a guess from a bit rate. */
  readonly duration?: number | undefined
  /** Why sound must be missing, whatever can be decoded: the file ends before it does. A clause. */
  readonly cut?: string | undefined
  /** Why nothing can be decoded at all. A clause. */
  readonly unusable?: string | undefined
  /** Where the samples themselves lie, if they are not compressed. */
  readonly pcm?: { readonly layout: PcmLayout; readonly start: number; readonly end: number } | undefined
  /** Chunks that hold texts, of containers that have them. */
  readonly texts?: readonly Chunk[] | undefined
}

/** A named part of a file. */
export interface Chunk {
  readonly id: string
  /** of its content, bytes */
  readonly start: number
  /** exclusive; not beyond the end of the file */
  readonly end: number
}

/** Parts of one file that are looked at: a hostile one could hold millions. */
export const mostParts = 4096
