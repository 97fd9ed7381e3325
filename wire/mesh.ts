// What holds for the whole mesh. There is one such resource at most, and its defaults hold without it.
import { type Static, s } from '#base/schema';
import { description } from './shapes.ts';

export const meshFields = {
  outboundPolicy: s.optional(
    s.enum(['registry-only', 'allow-any'], {
      default: 'registry-only',
      description:
        'hosts that nothing declares: refused, or passed on in the clear as they are named, recorded as such',
    }),
  ),
  tracing: s.optional(
    s.object({
      otlp: s.string({
        pattern: '^https?://[^\\s]+$',
        title: 'an http or https URL',
        maxLength: 2_048,
        description: 'where spans go, by OTLP/HTTP; /v1/traces when it has no path',
      }),
      sampling: s.optional(
        s.number({ minimum: 0, maximum: 100, default: 1, description: 'percent of the traces that begin here' }),
      ),
      trustEdge: s.optional(
        s.boolean({
          default: false,
          description:
            'whether callers outside the mesh may name the trace and say that it is sampled; otherwise a new one begins',
        }),
      ),
    }),
  ),
  metrics: s.optional(
    s.object({
      istioNames: s.optional(s.boolean({ default: false, description: "Istio's standard metrics beside ours" })),
    }),
  ),
};

export const meshSchema = s.object({ kind: s.literal('Mesh'), name: s.literal('mesh'), description, ...meshFields });
export type MeshResource = Static<typeof meshSchema>;
export const meshEntry = s.object(meshFields);
export type MeshEntry = Static<typeof meshEntry>;
