/** The words that a program says: every string literal and template of its sources, told by the syntax tree. */
import { readFileSync } from 'node:fs'
import {
  type ArrayExpression,
  type CallExpression,
  type Expression,
  type NewExpression,
  parseSync,
  Visitor,
} from 'oxc-parser'

export interface Text {
  readonly file: string
  /** 1-based */
  readonly line: number
  /** offsets of the literal in the file, quotes included */
  readonly start: number
  readonly end: number
  /** what it says; `…` stands for what is filled in */
  readonly says: string
}

/** Functions whose argument at that place is a cure. */
const cureArguments: Readonly<Record<string, number>> = {
  DownloadError: 2,
  LocalFileError: 2,
  Misplaced: 2,
  fail: 2,
  failed: 2,
  failure: 1,
  finding: 2,
  warning: 1,
}
/** An argument before which a code comes: the arguments are one further on. */
const isCode = (node: unknown) => {
  const value = (node as { value?: unknown } | undefined)?.value
  return typeof value === 'string' && /^[a-z-]+\.[a-z-]+$/.test(value)
}
/** What stands for a value that is filled in. */
const filled = '\u2026'
const namesCure = /^(cure|.*Cures?|allowDistribution|anywhere|readable|originAddress)$/
/** Tables of causes with their cures, the cure last; and functions that answer with one. */
const cureTables = new Set(['bySqlstate', 'refusals', 'certificateCures', 'roles'])
const cureFunctions = new Set(['cureOf'])

interface Sources {
  readonly texts: readonly Text[]
  /** whole cures, the parts of one that is put together joined */
  readonly cures: readonly Text[]
}

/** Every string of a TypeScript file, and which of them are cures. */
export function textsOf(file: string): Sources {
  const source = readFileSync(file, 'utf8')
  const { program } = parseSync(file, source)
  const texts: Text[] = []
  const cures: Text[] = []
  const lineOf = (offset: number) => source.slice(0, offset).split('\n').length
  const text = (start: number, end: number, says: string): Text => ({
    file,
    line: lineOf(start),
    start,
    end,
    says,
  })

  /** What an expression may say, one entry for each branch; undefined where it is not written here. */
  const sayings = (node: Expression): { start: number; end: number; says: string }[] => {
    switch (node.type) {
      case 'Literal':
        return typeof node.value === 'string' ? [{ start: node.start, end: node.end, says: node.value }] : []
      case 'TemplateLiteral':
        return [
          {
            start: node.start,
            end: node.end,
            says: node.quasis.map(({ value }) => value.cooked ?? value.raw).join(filled),
          },
        ]
      case 'ConditionalExpression':
        return [...sayings(node.consequent), ...sayings(node.alternate)]
      case 'LogicalExpression':
        return [...sayings(node.left), ...sayings(node.right)]
      case 'ParenthesizedExpression':
        return sayings(node.expression)
      case 'BinaryExpression': {
        if (node.operator !== '+') return []
        const says = [sayings(node.left), sayings(node.right)].map(([part]) => part?.says ?? filled).join('')
        return [{ start: node.start, end: node.end, says }]
      }
      default:
        return []
    }
  }
  const cure = (node: Expression | null | undefined): void => {
    if (node == null) return
    if (node.type === 'ObjectExpression') {
      for (const one of node.properties) if (one.type === 'Property') cure(one.value as Expression)
    } else if (node.type === 'ArrayExpression') for (const row of node.elements) lastOf(row as Expression)
    else for (const { start, end, says } of sayings(node)) cures.push(text(start, end, says))
  }
  const lastOf = (row: Expression | null): void => {
    if (row?.type === 'ArrayExpression') cure((row as ArrayExpression).elements.at(-1) as Expression)
    else cure(row)
  }
  const inFunction: string[] = []
  const called = ({ callee, arguments: given }: CallExpression | NewExpression): void => {
    const place = callee.type === 'Identifier' ? cureArguments[callee.name] : undefined
    if (place === undefined) return
    cure(given[isCode(given[0]) ? 2 : place] as Expression | undefined)
  }

  new Visitor({
    Literal(node) {
      if (typeof node.value === 'string') texts.push(text(node.start, node.end, node.value))
    },
    TemplateLiteral(node) {
      texts.push(
        text(node.start, node.end, node.quasis.map(({ value }) => value.cooked ?? value.raw).join(filled)),
      )
    },
    Property(node) {
      if (node.key.type === 'Identifier' && namesCure.test(node.key.name) && !node.shorthand)
        cure(node.value as Expression)
    },
    VariableDeclarator(node) {
      if (node.id.type !== 'Identifier' || node.init === null) return
      if (cureTables.has(node.id.name) && node.init.type === 'ObjectExpression') {
        for (const one of node.init.properties) {
          if (one.type === 'Property' && one.value.type === 'ArrayExpression') lastOf(one.value as Expression)
        }
      } else if (namesCure.test(node.id.name) || cureTables.has(node.id.name)) cure(node.init)
    },
    ArrayExpression(node) {
      // a row of db/errors.ts that stands alone
      const [kind] = node.elements
      if (kind?.type === 'Identifier' && /^(Temporary|Fatal)Error$/.test(kind.name)) lastOf(node)
    },
    CallExpression: called,
    NewExpression: called,
    FunctionDeclaration(node) {
      inFunction.push(node.id?.name ?? '')
    },
    'FunctionDeclaration:exit'() {
      inFunction.pop()
    },
    ReturnStatement(node) {
      if (cureFunctions.has(inFunction.at(-1) ?? '')) cure(node.argument)
    },
  }).visit(program)
  return {
    texts,
    cures: [...new Map(cures.filter(({ says }) => says.includes(' ')).map(one => [one.start, one])).values()],
  }
}
