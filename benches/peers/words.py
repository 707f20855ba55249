"""An English vocabulary for made-up texts: ordinary words, from frequent to rare within each list."""

FUNCTION = """
the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one
you were all her she there would their we him been has when who will no more if out so up said what its about than
into them can only other time some could these two may then do first any my now such like our over me even most made
after also did many off before must well back through years where much your way down should because each just those
""".split()

CONTENT = """
water people house city world school state country night river family government company number group problem fact
hand place week question work case point story life month book eye job word business issue side kind head service
friend father power hour game line end member law car name president team minute idea body information parent face
level office door health person art war history party result change morning reason research girl guy moment air
teacher force education foot boy age policy process music market sense nation plan college interest death experience
effect use class control care field development role effort rate heart drug show leader light voice wife police mind
price report decision son view relationship town road arm difference value building action season society tax
director position player record paper space ground form event official matter center couple site project activity
star table need court oil situation cost industry figure street image phone data picture practice piece land product
doctor wall patient worker news test movie north love step animal garden bread stone bridge winter summer island
mountain forest machine engine metal copper iron silver gold glass wood cotton wool paint window roof floor kitchen
library museum station railway harbour ship captain sailor fish bird horse dog cat sheep wheat rice sugar salt coffee
tea wine beer milk cheese butter fruit apple orange lemon potato tomato onion soup meal dinner breakfast nurse
hospital medicine disease fever blood bone skin muscle brain nerve lung liver kidney cell virus bacteria vaccine
surgery treatment symptom infection diabetes cancer pressure temperature energy heat electricity battery current
circuit signal radio satellite planet moon sun orbit rocket telescope gravity atom molecule acid carbon oxygen
hydrogen nitrogen chemistry physics biology mathematics equation theory theorem proof algorithm computer software
hardware network server memory processor program compiler function variable array string integer thread kernel
database index query document search ranking score model training sample token embedding vector matrix layer neural
language grammar sentence paragraph letter alphabet translation dictionary poem novel author editor publisher
newspaper magazine journal article chapter page printing theatre actor stage film camera photograph painting
sculpture gallery exhibition concert orchestra piano violin guitar drum singer melody rhythm dance festival
holiday tourist hotel passport border customs visa airport airplane pilot luggage ticket passenger driver traffic
highway tunnel bicycle wheel brake fuel petrol diesel emission climate weather storm rain snow wind cloud flood
drought earthquake volcano desert ocean coast beach valley lake glacier soil farmer harvest crop seed plant root leaf
flower tree branch bark insect butterfly bee spider snake frog whale dolphin shark elephant lion tiger wolf bear fox
rabbit mouse kingdom empire emperor queen king prince castle army soldier general battle siege treaty peace rebellion
revolution republic parliament election vote candidate minister senator mayor citizen constitution amendment judge
lawyer trial witness evidence crime prison sentence fine contract property owner landlord tenant rent mortgage loan
interest bank currency dollar inflation budget deficit tariff export import trade merchant customer supplier invoice
payment profit revenue shareholder dividend investor pension insurance salary wage union strike manager employee
engineer architect carpenter plumber electrician mechanic baker butcher tailor priest monk church temple mosque
cathedral prayer ritual legend myth hero ghost dragon dream memory childhood marriage wedding funeral birthday gift
letter envelope stamp parcel bottle basket bucket rope knife fork spoon plate cup bowl oven stove refrigerator
blanket pillow mattress curtain carpet mirror candle lamp clock calendar diary notebook pencil eraser ruler scissors
needle thread button zipper jacket trousers shirt sweater glove scarf hat shoe boot sock umbrella backpack wallet
keyboard monitor printer scanner cable router browser password encryption certificate firewall protocol packet
latency bandwidth throughput benchmark measurement thermometer barometer microscope laboratory experiment hypothesis
observation statistics probability distribution average variance correlation regression coefficient estimate
uncertainty philosophy ethics logic psychology sociology anthropology archaeology geography geology astronomy
meteorology economics linguistics rhetoric jurisprudence pharmacology epidemiology crystallography thermodynamics
""".split()

VERBS = """
make take give find know think come see want look use tell ask seem feel try leave call keep let begin help talk turn
start show hear play run move live believe hold bring happen write provide sit stand lose pay meet include continue
set learn lead understand watch follow stop create speak read allow add spend grow open walk win offer remember
consider appear buy wait serve die send expect build stay fall cut reach kill remain suggest raise pass sell require
report decide pull return explain carry develop hope drive break receive agree support remove describe measure repair
compare translate calculate publish discover invent examine investigate demonstrate establish maintain manufacture
distribute accumulate evaporate condense dissolve negotiate ratify prosecute synthesize
""".split()

DESCRIBING = """
new good high old great big small large different long little important young early late public bad same able local
sure low free better true whole clear recent certain strong possible full special easy red blue green white black
short hard open common poor natural significant similar hot cold dead central happy serious ready simple left
physical general environmental financial medical foreign democratic religious cultural northern southern ancient
medieval modern industrial agricultural electronic digital quantum nuclear chemical biological genetic tropical
coastal rural urban narrow shallow deep steep gentle quiet noisy bright dark heavy fragile durable flexible rigid
transparent opaque soluble volatile magnetic metallic organic synthetic artificial voluntary mandatory provisional
unprecedented controversial sophisticated comprehensive approximately irreversible asymmetric
""".split()

# Parts of made-up names, which a tokenizer has to split as it splits real ones.
SYLLABLES = """
ka mor vel tan ri shu bo len dor mi zak pel on ber gu sto ar wen li cho fra nor ul dan hei sig mar ost kri va bel
""".split()
