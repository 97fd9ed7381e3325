// The settings of the operations log, the same for every process.
import { s } from '#base/schema';
import { setting } from './settings.ts';

export const loggingSettings = {
  logLevel: setting(
    s.enum(['debug', 'info', 'warn', 'error'], {
      default: 'info',
      description: 'the least important lines of the operations log',
    }),
    { value: 'LEVEL' },
  ),
  logFormat: setting(
    s.enum(['auto', 'json', 'text'], {
      default: 'auto',
      description: 'how they look; auto: text on a terminal, else JSON',
    }),
    { value: 'FORMAT' },
  ),
} as const;
