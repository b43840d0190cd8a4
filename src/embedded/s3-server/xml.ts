/**
 * XML as S3 speaks it: one escape function and templates to write, @rgrove/parse-xml to read
 * (docs/decisions/0020), and the error document every refused request gets.
 */
import { parseXml, XmlElement } from '@rgrove/parse-xml'

/** A refusal of the S3 protocol: an HTTP status, an S3 error code and what goes into the XML body beside them. */
export class S3Error extends Error {
  readonly status: number
  readonly code: string
  /** Further elements of the error document, such as `Region` or `Key`. */
  readonly elements: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>

  constructor(
    status: number,
    code: string,
    message: string,
    elements: Record<string, string> = {},
    headers: Record<string, string> = {},
  ) {
    super(message)
    this.name = 'S3Error'
    this.status = status
    this.code = code
    this.elements = elements
    this.headers = headers
  }
}

export const xmlHead = '<?xml version="1.0" encoding="UTF-8"?>\n'
export const xmlns = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'

const escapes: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\r': '&#13;',
}

/** Text for an element. Control characters XML 1.0 cannot carry become references, as S3 sends them. */
function escapeXml(text: string): string {
  if (!/[&<>"\u0000-\u001f\ufffe\uffff]/.test(text)) return text
  return text.replace(
    /[&<>"\u0000-\u001f\ufffe\uffff]/g,
    c => escapes[c] ?? (c === '\n' || c === '\t' ? c : `&#x${c.charCodeAt(0).toString(16)};`),
  )
}

/** `<name>text</name>`, or nothing when there is no text to carry. */
export function element(name: string, text: string | number | boolean | undefined): string {
  return text === undefined ? '' : `<${name}>${escapeXml(String(text))}</${name}>`
}

/** A time (ms since the epoch) as documents have it. */
export const iso = (time: number): string => new Date(time).toISOString()

export function errorDocument(error: S3Error, resource: string, requestId: string, hostId: string): string {
  const more = Object.entries(error.elements).map(([name, text]) => element(name, text))
  return `${xmlHead}<Error>${element('Code', error.code)}${element('Message', error.message)}${more.join('')}${element('Resource', resource)}${element('RequestId', requestId)}${element('HostId', hostId)}</Error>`
}

export const malformedXml = () =>
  new S3Error(
    400,
    'MalformedXML',
    'The XML you provided was not well-formed or did not validate against our published schema',
  )

/**
 * The root element of a request body.
 * @throws S3Error `MalformedXML` when the document does not parse or its root is not one of `roots`.
 */
export function parseDocument(body: Buffer, ...roots: string[]): XmlElement {
  let root: XmlElement | null = null
  try {
    root = parseXml(body.toString('utf8')).root
  } catch {
    // Falls through to the refusal below: the parser's own words are not part of the protocol.
  }
  if (!root || !roots.includes(root.name)) {
    throw malformedXml()
  }
  return root
}

export function children(parent: XmlElement, name: string): XmlElement[] {
  return parent.children.filter((c): c is XmlElement => c instanceof XmlElement && c.name === name)
}

/** Trimmed text of the first child element of that name, or undefined. */
export function childText(parent: XmlElement, name: string, trim = true): string | undefined {
  const text = children(parent, name)[0]?.text
  return trim ? text?.trim() : text
}
