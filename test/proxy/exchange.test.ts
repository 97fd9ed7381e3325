// An exchange between two codecs that do what they want.
import { expect, test } from 'vitest';
import { systemClock } from '#base/clock';
import { fail } from '../../proxy/errors.ts';
import { type Downstream, Exchange, type Upstream } from '../../proxy/exchange.ts';
import { requestHead } from '../helpers/http2.ts';

test('of a request that an upstream refuses at once nothing is read, so that the next one gets all of it', async () => {
  const calls: string[] = [];
  const downstream: Downstream = {
    inform: () => undefined,
    head: () => undefined,
    data: () => true,
    end: () => undefined,
    abort: () => undefined,
    pauseRequest: () => void calls.push('pause'),
    resumeRequest() {
      calls.push('resume');
      exchange.requestData(Buffer.from('body'));
    },
  };
  const upstream = (name: string): Upstream => ({
    data: (bytes) => calls.push(`${name}: ${bytes}`) > 0,
    end: () => undefined,
    abort: () => undefined,
    pauseResponse: () => undefined,
    resumeResponse: () => undefined,
  });
  const head = { ...requestHead({ method: 'POST' }), length: 4 };
  const exchange = new Exchange({ head, downstream, responseFields: (fields) => fields, clock: systemClock });
  const refused = exchange.relay((one) => {
    one.responseFail(fail('UPSTREAM_CLOSED', { service: 'payments' }), 'surely');
    return upstream('dead');
  });
  expect(await refused).toBe('again');
  void exchange.relay(() => upstream('next'));
  expect(calls.filter((call) => call !== 'pause')).toEqual(['resume', 'next: body']);
});
