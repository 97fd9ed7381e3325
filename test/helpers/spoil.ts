// Memory that goes round is written over once it is given back, in every test: whoever still uses it sends something that no test expects.
import { spoilReads } from '../../proxy/read-buffer.ts';
import { spoilSlabs } from '../../proxy/slabs.ts';

spoilReads();
spoilSlabs();
