// Why a request that matched a route cannot be sent on as the route says.
import { defineErrors } from '#base/error';

export const routingErrors = {
  ROUTE_PATH_INVALID: {
    message: 'the route makes no canonical path of this one: {reason}',
    hint: 'look at the rewrite of the route with postern route',
    status: 400,
    retryable: false,
  },
} as const;

export const fail = defineErrors(routingErrors);
