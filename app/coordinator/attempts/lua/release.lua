-- release: remove an attempt's lease, which gives its slots and cards back and the worker to its sets.
-- KEYS  1 lease hash   2 worker hash   3 load zset
-- ARGV  1 worker   2 job   3 attempt   4 prefix of the eligible zsets
-- returns 1, or 0 when the lease is gone or belongs to another attempt (then nothing changes)
local text = redis.call('HGET', KEYS[1], ARGV[2])
local lease = text and cjson.decode(text)
if not lease or lease.attempt ~= tonumber(ARGV[3]) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[2])
local room = lease.state ~= 'ended' and room_of(KEYS[2]) -- an ended one held nothing
if room then settle(ARGV[1], room, KEYS[2], KEYS[3], ARGV[4], holdings(redis.call('HGETALL', KEYS[1]))) end
return 1
