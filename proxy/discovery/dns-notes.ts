// What is told of answers from DNS: each is counted, and a cluster whose name cannot be resolved is said once, and once more when it can be again.
import type { Log } from '#base/log';
import type { Metrics } from '#base/metrics';

export function createDnsNotes(o: {
  readonly log: Log;
  readonly metrics: Metrics;
}): (answer: { readonly cluster: string; readonly reason: string | undefined }) => void {
  const answers = o.metrics.counter({
    name: 'postern_dns_answers_total',
    help: 'Answers from DNS about the endpoints of clusters, good ones and those after which the last good one stayed in use.',
    labels: ['outcome'],
  });
  const troubled = new Set<string>();
  return ({ cluster, reason }) => {
    answers(reason === undefined ? 'good' : 'kept').value++;
    if (reason === undefined) {
      if (troubled.delete(cluster)) o.log.info('endpoints of a cluster can be resolved again', { cluster });
    } else if (!troubled.has(cluster)) {
      troubled.add(cluster);
      o.log.warn('endpoints of a cluster cannot be resolved; the last good ones stay in use', { cluster, reason });
    }
  };
}
