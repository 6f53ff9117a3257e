"""The words that simulations are made of, by language."""

from __future__ import annotations

from collections.abc import Mapping

_ENGLISH = (
    "amber anchor archive atlas autumn basin beacon borrow bridge candle canvas careful carry cedar "
    "chapter circle clever cloud copper cotton curious dance dawn delta desert distant dream early "
    "echo ember engine evening fable family feather ferry field finger forest garden gentle glass "
    "granite harbor harvest helper hidden hollow honest island ivory jacket journey kettle kindly "
    "ladder lantern letter listen lively machine maple market meadow memory mender mirror morning "
    "mountain narrow needle northern notice ocean orchard paper patient pepper pilot planet pocket "
    "quiet rainy reader ribbon river rocket saddle safely season secret shadow signal silver simple "
    "sister slowly southern spoken spring stable steady stone story summer sunny table tender thread "
    "timber travel twelve valley velvet village violet voice wander warmly water willow window winter "
    "wonder yellow"
)
_ARABIC = (
    "باب بحر برج بستان بيت تاجر تفاح تل ثلج ثوب جار جبل جديد جسر جميل حديقة حكاية حليب خبز خريف خشب "
    "خيمة دار درب دفتر دكان ذهب رحلة رسالة رمل ريح زهرة زيت سحاب سفينة سماء سوق شاطئ شجرة شراع شمس صباح "
    "صديق صخر صغير ضوء طائر طريق طفل ظل عالم عجيب عصفور عين غابة غرفة غيم فجر فرس فصل فنجان قارب قديم "
    "قرية قصة قلم قمر قهوة كبير كتاب كرسي كوكب لوحة ليل ماء مدينة مرآة مركب مساء مصباح مطر مفتاح ميناء "
    "نافذة نجم نخلة نسيم نهر نور هادئ هلال وادي وردة ورق يوم"
)
_INDONESIAN = (
    "angin anak atap awan ayam bambu bandar baru batu bawah benang besar biru buah bukit bulan bunga "
    "burung cahaya cerita cincin dapur daun dekat desa diam embun gelas gunung halus hangat hujan hutan "
    "indah istana jalan jarum jauh jembatan kabut kain kapal kayu kebun kecil kelapa kertas kolam kota "
    "kuda kuning ladang lampu langit laut lebar lembut lilin lorong malam mawar merah musim nelayan "
    "padi pagi panas pantai pasar payung pelabuhan pelan pena perahu pintu pohon pulau putih rumah "
    "rumput sabar sahabat sawah sejuk senja sepatu siang sungai surat taman tanah tangga teduh tenang "
    "terang tikar topi ujung warung"
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "en": tuple(_ENGLISH.split()),
    "ar": tuple(_ARABIC.split()),
    "id": tuple(_INDONESIAN.split()),
}
# Words of no language and no script: what is left where no other may stand.
NUMBERS = tuple(str(number) for number in range(10, 1000, 7))
