// A finding, said where it was written.
import { positionOf } from '#policy';
import type { LocatedResource, Origin } from '#wire';
import { type FindingCode, findingCodes, type Severity } from './codes.ts';

export interface Finding {
  readonly code: FindingCode;
  readonly severity: Severity;
  /** `VirtualService payments`. */
  readonly subject: string;
  readonly message: string;
  readonly hint: string;
  /** Where in the resource, as a JSON pointer. */
  readonly pointer?: string;
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
}

export type Say = (code: FindingCode, pointer: string, message: string, hint?: string) => void;

export function sayingTo(findings: Finding[]): (located: LocatedResource) => Say {
  return ({ resource, origin }) =>
    (code, pointer, message, hint = findingCodes[code].hint) => {
      const subject = `${resource.kind} ${resource.name}`;
      findings.push({
        ...{ code, severity: findingCodes[code].severity, subject, message, hint },
        pointer,
        ...placeOf(origin, pointer),
      });
    };
}

function placeOf(origin: Origin | undefined, pointer: string): Pick<Finding, 'file' | 'line' | 'column'> {
  return origin ? { file: origin.file, ...positionOf(origin, pointer) } : {};
}
